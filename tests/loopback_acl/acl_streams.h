// How the ACL calls find the stream behind a handle.
#pragma once

#include <memory>

#include "stream.h"

namespace loopback_acl {

// The stream of the handle, or the default stream of the thread's device for a null one; null when
// there is none.
std::shared_ptr<Stream> FindStream(void* handle);

// The error of a call whose handle FindStream did not know.
int BadStream(void* handle);

}  // namespace loopback_acl
