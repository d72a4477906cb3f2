// The status codes of the aclnn API that this library returns, and how an error leaves it. No check
// belongs here.
#pragma once

#include <string>

#include "aclnnop/group_norm_grad_acl_meta.h"

namespace group_norm_grad::op_api {

constexpr aclnnStatus kSuccess = 0;
constexpr aclnnStatus kParamNullptr = 161001;
constexpr aclnnStatus kParamInvalid = 161002;
constexpr aclnnStatus kRuntimeError = 361001;
constexpr aclnnStatus kInner = 561000;
constexpr aclnnStatus kFindKernel = 561003;
constexpr aclnnStatus kInnerNullptr = 561103;

// A status that is not success, with its reason.
struct Error {
  aclnnStatus status;
  std::string text;
};

// Keeps the text for this thread, writes it to CANN's log and returns the status.
aclnnStatus Report(const Error& error);

const char* LastErrorText();

}  // namespace group_norm_grad::op_api
