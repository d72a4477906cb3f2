// Shapes, dtypes and strides of the outputs for tracing. Reads no data and adds no guard of its
// own.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "csrc/checks.h"
#include "csrc/ops.h"

namespace group_norm_grad {
namespace {

Tensor empty_like_input(const Tensor& input) {
  return at::empty_symint(input.sym_sizes(), input.options(), input.suggest_memory_format());
}

Tensors3 forward_meta(const Tensor& input, const std::optional<Tensor>& weight,
                      const std::optional<Tensor>& bias, c10::SymInt N, c10::SymInt C,
                      c10::SymInt HxW, int64_t group, double /*eps*/) {
  check_forward<c10::SymInt>(input, weight, bias, N, C, HxW, group);
  // Statistics of a 16-bit input are float32 whatever the weight's dtype.
  const auto statistics = input.options().dtype(
      at::isReducedFloatingType(input.scalar_type()) ? at::kFloat : input.scalar_type());
  return {empty_like_input(input), at::empty_symint({N, group}, statistics),
          at::empty_symint({N, group}, statistics)};
}

Tensors3 backward_meta(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                       const Tensor& rstd, const std::optional<Tensor>& weight, c10::SymInt N,
                       c10::SymInt C, c10::SymInt HxW, int64_t group, OutputMask output_mask) {
  check_backward<c10::SymInt>(grad_out, input, mean, rstd, weight, N, C, HxW, group);
  const auto parameters = has_value(weight) ? weight->options() : mean.options();
  const auto grad_parameter = [&](bool wanted) {
    return wanted ? at::empty_symint({C}, parameters) : Tensor();
  };
  return {output_mask[0] ? empty_like_input(input) : Tensor(), grad_parameter(output_mask[1]),
          grad_parameter(output_mask[2])};
}

}  // namespace

TORCH_LIBRARY_IMPL(group_norm_grad, Meta, m) {
  m.impl("group_norm_forward", TORCH_FN(forward_meta));
  m.impl("group_norm_backward", TORCH_FN(backward_meta));
}

}  // namespace group_norm_grad
