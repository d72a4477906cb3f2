// The project's kernels compiled for the executor, one table an architecture. Nothing of Ascend C
// is visible here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../problem.h"

namespace executor {

// Device addresses in the order of the entry points; 0 for what the call has not.
struct KernelArguments {
  uint64_t grad_out = 0;
  uint64_t input = 0;
  uint64_t mean = 0;
  uint64_t rstd = 0;
  uint64_t weight = 0;
  uint64_t grad_input = 0;
  uint64_t grad_weight = 0;
  uint64_t grad_bias = 0;
  uint64_t workspace = 0;
};

// Runs the entry point for the dtype on the current core. `tiling` points to a GroupNormGradTiling.
using KernelFunction = void (*)(group_norm_grad::DType dtype, const KernelArguments& arguments,
                                const void* tiling);

void RunKernel2201(group_norm_grad::DType dtype, const KernelArguments& arguments,
                   const void* tiling);
void RunKernel3510(group_norm_grad::DType dtype, const KernelArguments& arguments,
                   const void* tiling);

}  // namespace executor
