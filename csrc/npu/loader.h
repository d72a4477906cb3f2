// The extension's side of the NPU: loads the NPU library at the first npu tensor, and is the
// dispatcher's PrivateUse1 kernel till then and after. Nothing of torch_npu or CANN may be included
// here.
#pragma once

#include "csrc/ops.h"

namespace group_norm_grad::npu {

// Whether the process has an "npu" device type, that is, torch_npu was imported.
bool is_available();

// The kernel of aten::native_group_norm_backward and of group_norm_grad::group_norm_backward on npu
// tensors.
Tensors3 backward(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                  const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N, int64_t C,
                  int64_t HxW, int64_t group, OutputMask output_mask);

// What runs on npu tensors, in one line, or why nothing does. Loads the library when torch_npu was
// imported.
std::string describe();

// The directory with the C API's op_api/, for ASCEND_CUSTOM_OPP_PATH; empty when it was not built.
std::string opp_path();

}  // namespace group_norm_grad::npu
