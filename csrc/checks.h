// The one list of argument checks, run by every dispatch key before anything is computed or
// written. Sizes are int64_t on a backend and SymInt under tracing; nothing here reads a tensor's
// data.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "kernels/problem.h"

namespace group_norm_grad {

// A floating dtype that the kernels compute in, or NotImplementedError naming `op`.
DType checked_dtype(const char* op, at::ScalarType dtype);

// What F.group_norm refuses: input of fewer than 2 dims, num_groups <= 0, C not divisible by
// num_groups (RuntimeError), one value per group (ValueError).
void check_group_norm(const at::Tensor& input, int64_t num_groups);

// The arguments of group_norm_forward. Int is int64_t or c10::SymInt.
template <typename Int>
void check_forward(const at::Tensor& input, const std::optional<at::Tensor>& weight,
                   const std::optional<at::Tensor>& bias, const Int& N, const Int& C,
                   const Int& HxW, int64_t group);

// The arguments of group_norm_backward.
template <typename Int>
void check_backward(const at::Tensor& grad_out, const at::Tensor& input, const at::Tensor& mean,
                    const at::Tensor& rstd, const std::optional<at::Tensor>& weight, const Int& N,
                    const Int& C, const Int& HxW, int64_t group);

inline bool has_value(const std::optional<at::Tensor>& tensor) {
  return tensor.has_value() && tensor->defined();
}

}  // namespace group_norm_grad
