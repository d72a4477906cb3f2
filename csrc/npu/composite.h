// The backward in ATen operators, for NPUs that the kernel does not run on. Nothing of torch_npu
// may be included here.
#pragma once

#include "csrc/ops.h"
#include "kernels/problem.h"

namespace group_norm_grad::npu {

// Arguments must have passed the checks; they are computed in float32.
Tensors3 backward_composite(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                            const Tensor& rstd, const Tensor& weight, const Problem& problem);

}  // namespace group_norm_grad::npu
