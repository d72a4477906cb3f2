// An aclnn operator of the loopback runtime in one line of ATen: what phase 1 keeps of its
// arguments, and the macro. Holds no operator.
#pragma once

#include <ATen/ATen.h>

#include <tuple>
#include <vector>

#include "operator.h"

namespace {

at::ScalarType TypeOf(aclDataType dtype) {
  switch (dtype) {
    case ACL_FLOAT:
      return at::kFloat;
    case ACL_FLOAT16:
      return at::kHalf;
    case ACL_BF16:
      return at::kBFloat16;
    case ACL_DOUBLE:
      return at::kDouble;
    case ACL_INT32:
      return at::kInt;
    case ACL_INT64:
      return at::kLong;
    case ACL_BOOL:
      return at::kBool;
    case ACL_UINT8:
      return at::kByte;
    default:
      TORCH_CHECK(false, "loopback_acl: no dtype ", static_cast<int>(dtype));
  }
}

// What phase 1 keeps of an argument, because torch_npu destroys the descriptors before the work
// runs; and what the body of an operator gets in its place when it does.
struct KeptTensor {
  bool defined;
  aclTensor descriptor;

  at::Tensor Open() const {
    if (!defined) return {};
    const auto type = TypeOf(descriptor.dtype);
    const auto options = at::TensorOptions().dtype(type);
    int64_t last = 0;
    for (size_t i = 0; i < descriptor.sizes.size(); ++i) {
      if (descriptor.sizes[i] == 0)
        return at::empty_strided(descriptor.sizes, descriptor.strides, options);
      last += (descriptor.sizes[i] - 1) * descriptor.strides[i];
    }
    const int64_t item = static_cast<int64_t>(c10::elementSize(type));
    void* view = LoopbackAclView(static_cast<char*>(descriptor.data) + descriptor.offset * item,
                                 static_cast<uint64_t>((last + 1) * item));
    TORCH_CHECK(view, "loopback_acl: a tensor is outside its allocation");
    return at::from_blob(view, descriptor.sizes, descriptor.strides, options);
  }
};

struct KeptTensors {
  std::vector<KeptTensor> tensors;
  std::vector<at::Tensor> Open() const {
    std::vector<at::Tensor> opened;
    for (const KeptTensor& tensor : tensors) opened.push_back(tensor.Open());
    return opened;
  }
};

struct KeptScalar {
  aclScalar descriptor;

  at::Scalar Open() const {
    return at::from_blob(const_cast<char*>(descriptor.value), {}, TypeOf(descriptor.dtype)).item();
  }
};

struct KeptInts {
  std::vector<int64_t> values;
  std::vector<int64_t> Open() const { return values; }
};

struct KeptMask {
  std::array<bool, 3> values;
  std::array<bool, 3> Open() const { return values; }
};

template <typename T>
struct KeptValue {
  T value;
  T Open() const { return value; }
};

KeptTensor Hold(const aclTensor* tensor) {
  return {tensor != nullptr, tensor ? *tensor : aclTensor{}};
}
[[maybe_unused]] KeptTensors Hold(const aclTensorList* list) {
  KeptTensors kept;
  for (const aclTensor* tensor : list->tensors) kept.tensors.push_back(Hold(tensor));
  return kept;
}
[[maybe_unused]] KeptScalar Hold(const aclScalar* scalar) { return {*scalar}; }
[[maybe_unused]] KeptInts Hold(const aclIntArray* array) {
  return {{array->GetData(), array->GetData() + array->Size()}};
}
KeptMask Hold(const aclBoolArray* array) {
  return {{array->GetData()[0], array->GetData()[1], array->GetData()[2]}};
}
template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T> || std::is_enum_v<T>>>
KeptValue<T> Hold(T value) {
  return {value};
}

template <typename Body, typename... Arguments>
int Phase1(const char* name, uint64_t* workspace_bytes, aclOpExecutor** executor, Body body,
           Arguments... arguments) {
  return loopback_acl::Keep(
      [name, body, kept = std::make_tuple(Hold(arguments)...)] {
        try {
          const at::AutoDispatchBelowADInplaceOrView no_autograd;
          std::apply([&](const auto&... argument) { body(argument.Open()...); }, kept);
        } catch (const std::exception& error) {
          LoopbackAclViolation((std::string(name) + ": " + error.what()).c_str());
        }
      },
      workspace_bytes, executor);
}

// Matrix products in the type that the CPU knows best; results rounded once.
[[maybe_unused]] at::Tensor Wide(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(at::kFloat) : tensor;
}

[[maybe_unused]] void PutIf(const at::Tensor& out, const at::Tensor& value) {
  if (out.defined()) out.copy_(value);
}

using T = const aclTensor*;
using List = const aclTensorList*;
using S = const aclScalar*;
using Ints = const aclIntArray*;
using Mask = const aclBoolArray*;
using at::Scalar;
using at::Tensor;
using std::vector;

}  // namespace

// OPERATOR(name, (C parameters), (their names), (parameters of the body) { body })
#define STRIP(...) __VA_ARGS__
#define OPERATOR(name, parameters, names, ...)                                         \
  extern "C" int aclnn##name##GetWorkspaceSize(STRIP parameters, uint64_t* bytes,      \
                                               aclOpExecutor** executor) {             \
    return Phase1("aclnn" #name, bytes, executor, [] __VA_ARGS__, STRIP names);        \
  }                                                                                    \
  extern "C" int aclnn##name(void* workspace, uint64_t bytes, aclOpExecutor* executor, \
                             aclrtStream stream) {                                     \
    return loopback_acl::Launch(workspace, bytes, executor, stream);                   \
  }
