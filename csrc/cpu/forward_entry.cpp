// group_norm_forward on the CPU.
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/ones.h>

#include "group_norm.h"

namespace group_norm_grad::cpu {

std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_forward(
    const at::Tensor& input, const std::optional<at::Tensor>& weight,
    const std::optional<at::Tensor>& bias, int64_t N, int64_t C, int64_t HxW, int64_t group,
    double eps) {
  // ATen's kernel reads its arguments as dense: it refuses another input, and misreads a strided weight.
  const auto dense = [](const std::optional<at::Tensor>& t) {
    return t.has_value() && t->defined() ? std::optional<at::Tensor>(t->contiguous())
                                         : std::nullopt;
  };
  const at::Tensor x = input.contiguous(input.suggest_memory_format());
  if (!at::isReducedFloatingType(input.scalar_type())) {
    return at::native_group_norm(x, dense(weight), dense(bias), N, C, HxW, group, eps);
  }
  // ATen's statistics take the dtype of the weight, so a float one keeps them in float.
  const auto in_float = [&](const std::optional<at::Tensor>& t) {
    std::optional<at::Tensor> out = dense(t);
    if (out) out = out->to(at::kFloat);
    return out;
  };
  std::optional<at::Tensor> weight_float = in_float(weight);
  if (!weight_float) weight_float = at::ones({C}, at::kFloat);
  return at::native_group_norm(x, weight_float, in_float(bias), N, C, HxW, group, eps);
}

}  // namespace group_norm_grad::cpu
