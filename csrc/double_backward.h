// Derivatives of the backward operator, in differentiable ATen operations. No kernels, no graph
// nodes.
#pragma once

#include "csrc/ops.h"

namespace group_norm_grad {

// One call of group_norm_backward: the tensors it was given and its geometry.
struct BackwardCall {
  Tensor grad_out, input, mean, rstd, weight;  // weight may be undefined
  c10::SymInt N, C, HxW;
  int64_t group;
};

// What flows into that call's outputs; each may be undefined.
struct GradGrads {
  Tensor grad_input, grad_weight, grad_bias;
};

// Gradients of the call's five tensors; undefined where not asked for.
struct CallGrads {
  Tensor grad_out, input, mean, rstd, weight;
};

// The vector-Jacobian product of group_norm_backward as a function of its five tensor arguments.
CallGrads group_norm_backward_vjp(const BackwardCall& call, const GradGrads& upstream,
                                  std::array<bool, 5> wanted);

// group_norm_backward itself in differentiable ATen operations, for forward-mode differentiation.
Tensors3 group_norm_backward_composite(const BackwardCall& call, OutputMask output_mask);

}  // namespace group_norm_grad
