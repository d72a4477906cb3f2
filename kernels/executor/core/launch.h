// Runs a kernel function on all cores of a made-up device: fibers for the scalar units, host
// threads, SyncAll between them. What the kernel computes is in Core; what is wrong with it is in
// the observers.
#pragma once

#include <functional>
#include <vector>

#include "core.h"
#include "memory.h"
#include "observer.h"

namespace executor {

struct LaunchResult {
  int32_t phases = 0;      // 1 + the waits for all cores that were passed
  bool completed = false;  // every core returned from the kernel
};

// Never throws: what the kernel throws or does is told to the observers.
LaunchResult Launch(const std::function<void()>& kernel, int32_t blocks, const Device& device,
                    const GlobalMemory& memory, const Options& options,
                    const std::vector<Observer*>& observers);

}  // namespace executor
