// Compiles the kernel source for the architecture EXECUTOR_ARCH in a namespace of its own: two
// architectures in one program would otherwise define the same templates and the same C functions
// twice. Only for kernel_2201.cpp and kernel_3510.cpp.
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "include/kernel_operator.h"
#include "kernel_table.h"

#define EXECUTOR_JOIN(name, arch) name##arch
#define EXECUTOR_FOR_ARCH(name, arch) EXECUTOR_JOIN(name, arch)
#define __NPU_ARCH__ EXECUTOR_ARCH
#define group_norm_grad_float32 EXECUTOR_FOR_ARCH(group_norm_grad_float32_on_, EXECUTOR_ARCH)
#define group_norm_grad_float16 EXECUTOR_FOR_ARCH(group_norm_grad_float16_on_, EXECUTOR_ARCH)
#define group_norm_grad_bfloat16 EXECUTOR_FOR_ARCH(group_norm_grad_bfloat16_on_, EXECUTOR_ARCH)
#define kernels_for_arch EXECUTOR_FOR_ARCH(kernels_, EXECUTOR_ARCH)

namespace kernels_for_arch {
#include "../op_kernel/group_norm_grad.cpp"
}

namespace executor {

void EXECUTOR_FOR_ARCH(RunKernel, EXECUTOR_ARCH)(::group_norm_grad::DType dtype,
                                                 const KernelArguments& arguments,
                                                 const void* tiling) {
  kernels_for_arch::group_norm_grad::GroupNormGradTiling copy;
  static_assert(std::is_trivially_copyable_v<decltype(copy)>);
  std::memcpy(&copy, tiling, sizeof(copy));
  auto run = [&](auto entry) {
    auto gm = [](uint64_t address) { return reinterpret_cast<GM_ADDR>(address); };
    entry(gm(arguments.grad_out), gm(arguments.input), gm(arguments.mean), gm(arguments.rstd),
          gm(arguments.weight), gm(arguments.grad_input), gm(arguments.grad_weight),
          gm(arguments.grad_bias), gm(arguments.workspace), copy);
  };
  switch (dtype) {
    case ::group_norm_grad::DType::kFloat32:
      return run(kernels_for_arch::group_norm_grad_float32);
    case ::group_norm_grad::DType::kFloat16:
      return run(kernels_for_arch::group_norm_grad_float16);
    case ::group_norm_grad::DType::kBFloat16:
      return run(kernels_for_arch::group_norm_grad_bfloat16);
    case ::group_norm_grad::DType::kFloat64:
      break;
  }
}

}  // namespace executor
