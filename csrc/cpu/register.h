// The checked CPU kernel of the backward, as the dispatcher calls it.
#pragma once

#include "csrc/ops.h"

namespace group_norm_grad {

Tensors3 backward_cpu(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                      const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N, int64_t C,
                      int64_t HxW, int64_t group, OutputMask output_mask);

}  // namespace group_norm_grad
