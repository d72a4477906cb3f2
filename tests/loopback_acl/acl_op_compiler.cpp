// libacl_op_compiler of the loopback runtime: the old route of operators that have no aclnn
// implementation, which must fail.
#include <acl/acl_op_compiler.h>

#include <cstdio>
#include <string>

#include "loopback_acl.h"

extern "C" {

aclError aclSetCompileopt(aclCompileOpt option, const char* value) {
  (void)option, (void)value;
  return ACL_SUCCESS;
}

// The route of operators that have no aclnn implementation. Success here would turn every one of
// them into silent garbage.
aclError aclopCompileAndExecute(const char* op, int inputs, const aclTensorDesc* const[],
                                const aclDataBuffer* const[], int outputs,
                                const aclTensorDesc* const[], aclDataBuffer* const[],
                                const aclopAttr*, aclopEngineType, aclopCompileType, const char*,
                                aclrtStream) {
  const std::string text = std::string("operator ") + op + " (" + std::to_string(inputs) +
                           " inputs, " + std::to_string(outputs) + " outputs) does not exist here";
  LoopbackAclSetError(text.c_str());
  std::fprintf(stderr, "loopback_acl: %s\n", text.c_str());
  return ACL_ERROR_FEATURE_UNSUPPORTED;
}
}
