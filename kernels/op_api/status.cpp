// The per-thread error text.
#include "status.h"

#include "acl_calls.h"

namespace group_norm_grad::op_api {
namespace {

thread_local std::string last_error;

}  // namespace

aclnnStatus Report(const Error& error) {
  last_error = "aclnnGroupNormBackward: " + error.text;
  if (const auto log = Calls().aclAppLog)
    log(ACL_ERROR, "aclnnGroupNormBackward", "", 0, "%s", last_error.c_str());
  return error.status;
}

const char* LastErrorText() { return last_error.c_str(); }

}  // namespace group_norm_grad::op_api
