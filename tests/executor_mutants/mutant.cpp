// The kernel source MUTANT_SOURCE, with its entry point MUTANT_ENTRY, in place of the project's
// kernels. Apart from main.cpp, because the plan's tiling struct and the kernel's must not meet in
// one translation unit.
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "../../kernels/executor/kernel_table.h"
#include "kernel_operator.h"

namespace mutant {
#include MUTANT_SOURCE
}

namespace executor {

void RunKernel2201(::group_norm_grad::DType, const KernelArguments& arguments, const void* tiling) {
  mutant::group_norm_grad::GroupNormGradTiling copy;
  std::memcpy(&copy, tiling, sizeof(copy));
  auto gm = [](uint64_t address) { return reinterpret_cast<GM_ADDR>(address); };
  mutant::MUTANT_ENTRY(gm(arguments.grad_out), gm(arguments.input), gm(arguments.mean),
                       gm(arguments.rstd), gm(arguments.weight), gm(arguments.grad_input),
                       gm(arguments.grad_weight), gm(arguments.grad_bias), gm(arguments.workspace),
                       copy);
}

void RunKernel3510(::group_norm_grad::DType dtype, const KernelArguments& arguments,
                   const void* tiling) {
  RunKernel2201(dtype, arguments, tiling);
}

}  // namespace executor
