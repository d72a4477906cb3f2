// What the NPU library, which is linked to torch_npu, offers to the extension, which is not: a
// table of functions, found by one C symbol. Nothing of torch_npu or CANN may be included here.
#pragma once

#include "csrc/ops.h"

namespace group_norm_grad::npu {

struct Kernels {
  // Of the torch that both libraries were compiled with, to notice a stale one.
  const char* torch_version;

  // Checked, on npu tensors: the PrivateUse1 kernels of our operators.
  Tensors3 (*forward)(const Tensor& input, const std::optional<Tensor>& weight,
                      const std::optional<Tensor>& bias, int64_t N, int64_t C, int64_t HxW,
                      int64_t group, double eps);
  Tensors3 (*backward)(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                       const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N,
                       int64_t C, int64_t HxW, int64_t group, OutputMask output_mask);

  // What runs the backward on the NPU of this process, or why nothing can, for a report.
  std::string (*describe)();
};

// const Kernels* group_norm_grad_npu_kernels()
constexpr const char* kKernelsSymbol = "group_norm_grad_npu_kernels";

}  // namespace group_norm_grad::npu
