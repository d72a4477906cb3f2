// The C interface of the kernel library, the one file that holds code for the device: what the host
// side looks up in it. No CANN header may be included here, so that both sides build without the
// other's tools.
#pragma once

#include <cstdint>

#include "kernels/op_host/plan.h"
#include "kernels/op_host/platform.h"
#include "kernels/problem.h"

extern "C" {

// Everything that one call of the kernel needs; device addresses of contiguous data. Outputs that
// the problem's mask drops, and an absent weight, are null.
struct GroupNormGradLaunch {
  const group_norm_grad::Problem* problem;
  const group_norm_grad::Platform* platform;
  const group_norm_grad::Plan* plan;
  const void* grad_out;
  const void* input;
  const void* mean;
  const void* rstd;
  const void* weight;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  void* workspace;  // plan->workspace_bytes
};

// Enqueues the kernel on the stream; what it needs of *launch is read before it returns. 0, or the
// error of the runtime.
int32_t GroupNormGradKernelLaunch(const GroupNormGradLaunch* launch, void* stream);

// A digest of the kernel's sources that the library was built from (GROUP_NORM_GRAD_KERNEL_ID): a
// plan is only for the kernel that it was written with, whatever the size of the struct between
// them.
const char* GroupNormGradKernelId(void);
}
