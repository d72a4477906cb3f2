// How an operator of the loopback runtime becomes an aclnn pair: phase 1 keeps a piece of work,
// phase 2 puts it on the stream. Holds no operator.
#pragma once

#include <acl/acl.h>

#include <cstring>
#include <functional>

#include "loopback_acl.h"
#include "nnopbase.h"

// The real library tells its executors by a number in their first word; foreign ones it refuses.
struct aclOpExecutor {
  static constexpr uint64_t kMagic = 0x4c6f6f706261636b;
  uint64_t magic = kMagic;
  bool repeatable = false;
  uint64_t workspace_bytes = 0;
  std::function<void()> work;
};

namespace loopback_acl {

// Every operator asks for a workspace and overwrites all of it, so that a caller who gives too
// little, or memory that is in use, is found out.
constexpr uint64_t kWorkspaceBytes = 384;

inline int Keep(std::function<void()> work, uint64_t* workspace_bytes, aclOpExecutor** executor) {
  auto* kept = new aclOpExecutor;
  kept->work = std::move(work);
  kept->workspace_bytes = *workspace_bytes = kWorkspaceBytes;
  *executor = kept;
  return 0;
}

inline void RunAndDelete(void* work) {
  auto* function = static_cast<std::function<void()>*>(work);
  (*function)();
  delete function;
}

inline int Launch(void* workspace, uint64_t workspace_bytes, aclOpExecutor* executor,
                  aclrtStream stream) {
  if (executor == nullptr) return 161001;
  if (workspace == nullptr || workspace_bytes < executor->workspace_bytes) return 561000;
  auto* work = new std::function<void()>([run = executor->work, workspace] {
    void* view = LoopbackAclView(workspace, kWorkspaceBytes);
    if (view == nullptr) return;
    std::memset(view, 0x7F, kWorkspaceBytes);
    run();
  });
  if (!executor->repeatable) delete executor;
  return aclrtLaunchHostFunc(stream, RunAndDelete, work);
}

}  // namespace loopback_acl
