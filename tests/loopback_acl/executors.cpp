// The two calls of the aclnn base library that manage executors of the loopback runtime's own
// operators.
#include "operator.h"

extern "C" {

aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor* executor) {
  if (executor == nullptr) return 561103;
  if (executor->magic != aclOpExecutor::kMagic) return 561000;
  executor->repeatable = true;
  return 0;
}

aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor* executor) {
  if (executor == nullptr) return 561103;
  if (executor->magic != aclOpExecutor::kMagic) return 561000;
  delete executor;
  return 0;
}
}
