// What phase 1 leaves for phase 2, and the book of which executors are live. No argument is checked
// here.
#pragma once

#include <memory>
#include <vector>

#include "arguments.h"
#include "copies.h"
#include "kernels/op_host/plan.h"
#include "kernels/op_host/platform.h"

namespace group_norm_grad::op_api {

// Immutable once made, so that any number of phases 2 may use it at a time.
struct Work {
  Arguments arguments;
  const Platform* platform;
  Plan plan;
  std::vector<StandIn> inputs, outputs;  // of the tensors that are not contiguous
  uint64_t copy_offset_bytes = 0;  // the workspace of the copies themselves, one after the other
  uint64_t copy_bytes = 0;
  uint64_t workspace_bytes = 0;  // of all
};

// A handle for the work. Handles are looked up and never dereferenced, so that a stale or foreign
// one is an error.
aclOpExecutor* Publish(std::shared_ptr<const Work> work);

// The work of a live handle, or null.
std::shared_ptr<const Work> Find(const aclOpExecutor* handle);

// Ends the life of the handle unless it is repeatable. False when another thread was first.
bool Consume(const aclOpExecutor* handle);

}  // namespace group_norm_grad::op_api
