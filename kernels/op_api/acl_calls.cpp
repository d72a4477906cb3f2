// The search for the functions of CANN in the process and its library path.
#include "acl_calls.h"

#include <dlfcn.h>

#include <array>

namespace group_norm_grad::op_api {
namespace {

// Loads each library once, if it is there, and never unloads it. The operators were split off
// libopapi.so in newer releases.
void* FindIn(const char* library, const char* name) {
  void* const handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  return handle ? dlsym(handle, name) : nullptr;
}

template <typename Function>
void Find(Function* function, const char* name, const std::array<const char*, 3>& libraries) {
  void* address = nullptr;
  for (const char* library : libraries) {
    if (address == nullptr && library != nullptr) address = FindIn(library, name);
  }
  *function = reinterpret_cast<Function>(address);
}

AclCalls FindAll() {
  constexpr std::array<const char*, 3> kRuntime = {"libascendcl.so"};
  constexpr std::array<const char*, 3> kBase = {"libnnopbase.so", "libopapi.so"};
  constexpr std::array<const char*, 3> kMath = {"libopapi.so", "libopapi_math.so"};
  constexpr std::array<const char*, 3> kNn = {"libopapi.so", "libopapi_nn.so"};
  AclCalls calls = {};
  Find(&calls.aclrtGetSocName, "aclrtGetSocName", kRuntime);
  Find(&calls.aclAppLog, "aclAppLog", kRuntime);
  Find(&calls.aclGetViewShape, "aclGetViewShape", kBase);
  Find(&calls.aclGetViewStrides, "aclGetViewStrides", kBase);
  Find(&calls.aclGetViewOffset, "aclGetViewOffset", kBase);
  Find(&calls.aclGetFormat, "aclGetFormat", kBase);
  Find(&calls.aclGetDataType, "aclGetDataType", kBase);
  Find(&calls.aclGetRawTensorAddr, "aclGetRawTensorAddr", kBase);
  Find(&calls.aclGetBoolArraySize, "aclGetBoolArraySize", kBase);
  Find(&calls.aclCreateTensor, "aclCreateTensor", kBase);
  Find(&calls.aclDestroyTensor, "aclDestroyTensor", kBase);
  Find(&calls.BoolArrayData, "_ZNK8aclArrayIbE7GetDataEv", kBase);
  Find(&calls.SetRepeatable, "aclSetAclOpExecutorRepeatable", kBase);
  Find(&calls.DestroyExecutor, "aclDestroyAclOpExecutor", kBase);
  Find(&calls.InplaceCopyGetWorkspaceSize, "aclnnInplaceCopyGetWorkspaceSize", kMath);
  Find(&calls.InplaceCopy, "aclnnInplaceCopy", kMath);
  Find(&calls.BuiltInGetWorkspaceSize, "aclnnGroupNormBackwardGetWorkspaceSize", kNn);
  Find(&calls.BuiltIn, "aclnnGroupNormBackward", kNn);
  return calls;
}

}  // namespace

const AclCalls& Calls() {
  static const AclCalls calls = FindAll();
  return calls;
}

const char* Missing() {
  const AclCalls& calls = Calls();
  if (!calls.aclrtGetSocName) return "aclrtGetSocName of libascendcl.so";
  if (!calls.aclGetViewShape || !calls.aclGetViewStrides || !calls.aclGetViewOffset ||
      !calls.aclGetFormat || !calls.aclGetDataType || !calls.aclGetRawTensorAddr ||
      !calls.aclCreateTensor || !calls.aclDestroyTensor) {
    return "the aclTensor calls of libnnopbase.so";
  }
  if (!calls.aclGetBoolArraySize || !calls.BoolArrayData)
    return "the aclBoolArray calls of libnnopbase.so";
  return nullptr;
}

}  // namespace group_norm_grad::op_api
