// Running a plan on the device: finds the kernel library of the platform's architecture and hands
// the call to it. Used by the C API and by the torch binding; knows neither.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/op_host/device_kernel.h"

namespace group_norm_grad {

enum class LaunchResult : uint8_t {
  kLaunched,
  kNoKernelLibrary,  // not built, not found or of another version
  kRuntimeError,     // the runtime refused the launch
};

struct LaunchStatus {
  LaunchResult result = LaunchResult::kLaunched;
  std::string text;  // the reason, and for kNoKernelLibrary how to build it
  explicit operator bool() const { return result == LaunchResult::kLaunched; }
};

// Whether there is a kernel library for the architecture: kLaunched or kNoKernelLibrary. To be
// asked before anything is queued, because later there is nobody to tell.
LaunchStatus FindKernelLibrary(int32_t arch);

// Enqueues the plan's kernel on the stream. Nothing is enqueued for a plan of no blocks.
LaunchStatus Launch(const GroupNormGradLaunch& launch, void* stream);

}  // namespace group_norm_grad
