// Typed handles of our operators: how C++ calls them through the dispatcher. No kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <array>
#include <optional>
#include <tuple>

namespace group_norm_grad {

using at::Tensor;
using Tensors3 = std::tuple<Tensor, Tensor, Tensor>;
using OutputMask = std::array<bool, 3>;

// output, mean, rstd
using ForwardSchema = Tensors3(const Tensor& input, const std::optional<Tensor>& weight,
                               const std::optional<Tensor>& bias, c10::SymInt N, c10::SymInt C,
                               c10::SymInt HxW, int64_t group, double eps);
// grad_input, grad_weight, grad_bias; undefined where output_mask drops them
using BackwardSchema = Tensors3(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                                const Tensor& rstd, const std::optional<Tensor>& weight,
                                c10::SymInt N, c10::SymInt C, c10::SymInt HxW, int64_t group,
                                OutputMask output_mask);

inline const c10::TypedOperatorHandle<ForwardSchema>& forward_op() {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("group_norm_grad::group_norm_forward", "")
                             .typed<ForwardSchema>();
  return op;
}

inline const c10::TypedOperatorHandle<BackwardSchema>& backward_op() {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("group_norm_grad::group_norm_backward", "")
                             .typed<BackwardSchema>();
  return op;
}

}  // namespace group_norm_grad
