// An aclTensor as plain data, which outlives it: what phase 2 and the checks work on. Nothing is
// copied on the device here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "aclnnop/group_norm_grad_acl_meta.h"

namespace group_norm_grad::op_api {

struct TensorView {
  const char* name = "";
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  int64_t offset = 0;  // in elements, from storage
  aclDataType dtype = ACL_DT_UNDEFINED;
  aclFormat format = ACL_FORMAT_UNDEFINED;
  void* storage = nullptr;  // on the device

  int64_t ElementBytes() const { return dtype == ACL_FLOAT ? 4 : 2; }

  // -1 when it does not fit in 64 bits.
  int64_t Numel() const;

  // In row-major order without gaps; empty tensors are.
  bool IsContiguous() const;

  // Null for an empty tensor, whose offset may be past its memory.
  void* Data() const {
    return Numel() == 0 ? nullptr : static_cast<char*>(storage) + offset * ElementBytes();
  }
};

// Throws Error when the base library refuses a question about the tensor.
TensorView Read(const char* name, const aclTensor* tensor);

// As "(2, 3, 4)".
std::string ShapeText(const std::vector<int64_t>& sizes);

}  // namespace group_norm_grad::op_api
