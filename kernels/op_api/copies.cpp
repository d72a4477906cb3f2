// Calls of aclnnInplaceCopy with descriptors that live for one call.
#include "copies.h"

#include <memory>
#include <string>

#include "acl_calls.h"
#include "status.h"

namespace group_norm_grad::op_api {
namespace {

struct Destroy {
  void operator()(aclTensor* tensor) const { Calls().aclDestroyTensor(tensor); }
};
using OwnedTensor = std::unique_ptr<aclTensor, Destroy>;

OwnedTensor Describe(const TensorView& tensor, const std::vector<int64_t>& strides, int64_t offset,
                     void* storage) {
  // The storage's extent, as one dimension: what the strides reach.
  int64_t elements = offset + 1;
  for (size_t i = 0; i < strides.size(); ++i) elements += (tensor.sizes[i] - 1) * strides[i];
  OwnedTensor made(Calls().aclCreateTensor(tensor.sizes.data(), tensor.sizes.size(), tensor.dtype,
                                           strides.data(), offset, ACL_FORMAT_ND, &elements, 1,
                                           storage));
  if (!made) throw Error{kRuntimeError, std::string("cannot describe ") + tensor.name};
  return made;
}

struct Pair {
  OwnedTensor tensor, stand_in;

  Pair(const TensorView& view, void* stand_in_address)
      : tensor(Describe(view, view.strides, view.offset, view.storage)),
        stand_in(Describe(view, ContiguousStrides(view), 0, stand_in_address)) {}

 private:
  static std::vector<int64_t> ContiguousStrides(const TensorView& view) {
    std::vector<int64_t> strides(view.sizes.size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * view.sizes[i];
    return strides;
  }
};

[[noreturn]] void Fail(const char* name, const char* what, aclnnStatus status) {
  throw Error{kRuntimeError, std::string("the copy of ") + name +
                                 ", which is not contiguous, failed: " + what + " returned " +
                                 std::to_string(status)};
}

// Phase 1 of the copy; the executor is the caller's.
aclOpExecutor* Prepare(const char* name, aclTensor* to, const aclTensor* from,
                       uint64_t* workspace_bytes) {
  const AclCalls& calls = Calls();
  if (!calls.InplaceCopyGetWorkspaceSize || !calls.InplaceCopy) {
    throw Error{
        kRuntimeError,
        std::string(name) +
            " is not contiguous, and aclnnInplaceCopy of CANN's libopapi.so, which is needed to "
            "copy it, was not found"};
  }
  aclOpExecutor* executor = nullptr;
  const aclnnStatus status =
      calls.InplaceCopyGetWorkspaceSize(to, from, workspace_bytes, &executor);
  if (status != kSuccess) Fail(name, "aclnnInplaceCopyGetWorkspaceSize", status);
  return executor;
}

void Run(const char* name, aclTensor* to, const aclTensor* from, void* workspace,
         uint64_t workspace_bytes, aclrtStream stream) {
  uint64_t needed_bytes = 0;
  aclOpExecutor* const executor = Prepare(name, to, from, &needed_bytes);
  if (needed_bytes > workspace_bytes) {
    if (Calls().DestroyExecutor) Calls().DestroyExecutor(executor);
    throw Error{kRuntimeError, std::string("the copy of ") + name + " asked for " +
                                   std::to_string(workspace_bytes) +
                                   " bytes of workspace first and for " +
                                   std::to_string(needed_bytes) + " now"};
  }
  const aclnnStatus status = Calls().InplaceCopy(workspace, needed_bytes, executor, stream);
  if (status != kSuccess) Fail(name, "aclnnInplaceCopy", status);
}

}  // namespace

uint64_t CopyWorkspaceBytes(const TensorView& tensor, bool into_stand_in) {
  const Pair pair(
      tensor, tensor.storage);  // the address of the stand-in is not known yet and does not matter
  uint64_t bytes = 0;
  aclOpExecutor* const executor =
      into_stand_in ? Prepare(tensor.name, pair.stand_in.get(), pair.tensor.get(), &bytes)
                    : Prepare(tensor.name, pair.tensor.get(), pair.stand_in.get(), &bytes);
  if (Calls().DestroyExecutor) Calls().DestroyExecutor(executor);
  return bytes;
}

void Gather(const TensorView& tensor, void* stand_in, void* workspace, uint64_t workspace_bytes,
            aclrtStream stream) {
  const Pair pair(tensor, stand_in);
  Run(tensor.name, pair.stand_in.get(), pair.tensor.get(), workspace, workspace_bytes, stream);
}

void Scatter(const TensorView& tensor, void* stand_in, void* workspace, uint64_t workspace_bytes,
             aclrtStream stream) {
  const Pair pair(tensor, stand_in);
  Run(tensor.name, pair.tensor.get(), pair.stand_in.get(), workspace, workspace_bytes, stream);
}

}  // namespace group_norm_grad::op_api
