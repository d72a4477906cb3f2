// The arguments of aclnnGroupNormBackward and the rules that they must keep. Nothing is launched or
// allocated here.
#pragma once

#include <array>
#include <optional>

#include "aclnnop/group_norm_grad_acl_meta.h"
#include "kernels/problem.h"
#include "tensor_view.h"

namespace group_norm_grad::op_api {

// As passed by the caller.
struct RawArguments {
  const aclTensor* grad_out;
  const aclTensor* input;
  const aclTensor* mean;
  const aclTensor* rstd;
  const aclTensor* gamma;  // may be null
  int64_t N, C, HxW, group;
  const aclBoolArray* output_mask;
  std::array<const aclTensor*, 3>
      outputs;  // indexed by Output; may be null where the mask is false
};

struct Arguments {
  Problem problem;
  TensorView grad_out, input, mean, rstd;
  std::optional<TensorView> gamma;
  std::array<std::optional<TensorView>, 3>
      outputs;  // indexed by Output; those that the mask asks for
};

// Throws Error for the first rule broken, in the order null, mask, dtype, attributes, shape.
Arguments Check(const RawArguments& raw);

}  // namespace group_norm_grad::op_api
