// Reading of aclTensors through the C calls of the aclnn base library.
#include "tensor_view.h"

#include <memory>

#include "acl_calls.h"
#include "kernels/problem.h"
#include "status.h"

namespace group_norm_grad::op_api {
namespace {

void Require(aclnnStatus status, const char* name, const char* what) {
  if (status == kSuccess) return;
  throw Error{kRuntimeError, std::string("cannot read the ") + what + " of " + name + ", status " +
                                 std::to_string(status)};
}

// The base library allocates such arrays with new[], for the caller to delete.
template <typename Get>
std::vector<int64_t> Array(Get get, const aclTensor* tensor, const char* name, const char* what) {
  int64_t* values = nullptr;
  uint64_t count = 0;
  Require(get(tensor, &values, &count), name, what);
  const std::unique_ptr<int64_t[]> owner(values);
  return std::vector<int64_t>(values, values + count);
}

}  // namespace

int64_t TensorView::Numel() const {
  int64_t numel = 1;
  for (const int64_t size : sizes) {
    if (size == 0) return 0;
  }
  for (const int64_t size : sizes) {
    if (size < 0 || (numel = CheckedMul(numel, size)) < 0) return -1;
  }
  return numel;
}

bool TensorView::IsContiguous() const {
  if (Numel() == 0) return true;
  int64_t expected = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] != 1 && strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

TensorView Read(const char* name, const aclTensor* tensor) {
  const AclCalls& calls = Calls();
  TensorView view;
  view.name = name;
  view.sizes = Array(calls.aclGetViewShape, tensor, name, "shape");
  view.strides = Array(calls.aclGetViewStrides, tensor, name, "strides");
  Require(calls.aclGetViewOffset(tensor, &view.offset), name, "offset");
  Require(calls.aclGetDataType(tensor, &view.dtype), name, "dtype");
  Require(calls.aclGetFormat(tensor, &view.format), name, "format");
  Require(calls.aclGetRawTensorAddr(tensor, &view.storage), name, "address");
  return view;
}

std::string ShapeText(const std::vector<int64_t>& sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  return text + ")";
}

}  // namespace group_norm_grad::op_api
