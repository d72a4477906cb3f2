// The CPU key of our operators: argument checks, then the CPU entry. No arithmetic.
#include "csrc/cpu/register.h"

#include <torch/library.h>

#include "csrc/checks.h"
#include "csrc/cpu/group_norm.h"

namespace group_norm_grad {
namespace {

Tensors3 forward_cpu(const Tensor& input, const std::optional<Tensor>& weight,
                     const std::optional<Tensor>& bias, int64_t N, int64_t C, int64_t HxW,
                     int64_t group, double eps) {
  check_forward<int64_t>(input, weight, bias, N, C, HxW, group);
  return cpu::group_norm_forward(input, weight, bias, N, C, HxW, group, eps);
}

}  // namespace

Tensors3 backward_cpu(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                      const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N, int64_t C,
                      int64_t HxW, int64_t group, OutputMask output_mask) {
  check_backward<int64_t>(grad_out, input, mean, rstd, weight, N, C, HxW, group);
  return cpu::group_norm_backward(grad_out, input, mean, rstd, weight, N, C, HxW, group,
                                  output_mask);
}

TORCH_LIBRARY_IMPL(group_norm_grad, CPU, m) {
  m.impl("group_norm_forward", TORCH_FN(forward_cpu));
  m.impl("group_norm_backward", TORCH_FN(backward_cpu));
}

}  // namespace group_norm_grad
