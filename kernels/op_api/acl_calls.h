// The functions of the CANN libraries that this library calls, found in the process at the first
// use. So it builds without CANN, loads whatever libraries the program chose, and names what it
// cannot find.
#pragma once

#include "aclnnop/aclnn_group_norm_backward.h"

namespace group_norm_grad::op_api {

// Null where the installed libraries lack a function; Missing() tells of those that the operator
// cannot do without.
struct AclCalls {
  decltype(&::aclrtGetSocName) aclrtGetSocName;
  decltype(&::aclAppLog) aclAppLog;
  decltype(&::aclGetViewShape) aclGetViewShape;
  decltype(&::aclGetViewStrides) aclGetViewStrides;
  decltype(&::aclGetViewOffset) aclGetViewOffset;
  decltype(&::aclGetFormat) aclGetFormat;
  decltype(&::aclGetDataType) aclGetDataType;
  decltype(&::aclGetRawTensorAddr) aclGetRawTensorAddr;
  decltype(&::aclGetBoolArraySize) aclGetBoolArraySize;
  decltype(&::aclCreateTensor) aclCreateTensor;
  decltype(&::aclDestroyTensor) aclDestroyTensor;
  // aclArray<bool>::GetData() const: there is no C call that reads the values of an aclBoolArray.
  const bool* (*BoolArrayData)(const aclBoolArray*);

  // Of operators and executors that are not ours.
  decltype(&::aclSetAclOpExecutorRepeatable) SetRepeatable;
  decltype(&::aclDestroyAclOpExecutor) DestroyExecutor;
  aclnnStatus (*InplaceCopyGetWorkspaceSize)(aclTensor*, const aclTensor*, uint64_t*,
                                             aclOpExecutor**);
  aclnnStatus (*InplaceCopy)(void*, uint64_t, aclOpExecutor*, aclrtStream);
  decltype(&::aclnnGroupNormBackwardGetWorkspaceSize) BuiltInGetWorkspaceSize;
  decltype(&::aclnnGroupNormBackward) BuiltIn;
};

const AclCalls& Calls();

// The name of a function that every call needs and the process does not have, or null.
const char* Missing();

}  // namespace group_norm_grad::op_api
