// The kernel library's side of device_kernel.h: starts the kernel of the problem's dtype on a
// stream. Compiled only with the CANN toolkit; nothing here decides anything.
#include "kernels/op_host/device_kernel.h"

#ifdef GROUP_NORM_GRAD_C_LAUNCH
// CANN 8.0 to 8.3: ascendc_library makes a C function of each kernel, which takes the tiling by its
// address.
#include "aclrtlaunch_group_norm_grad_bfloat16.h"
#include "aclrtlaunch_group_norm_grad_float16.h"
#include "aclrtlaunch_group_norm_grad_float32.h"

#define START(kernel, blocks, stream, tiling, ...)                                              \
  static_cast<int32_t>(aclrtlaunch_##kernel(static_cast<uint32_t>(blocks), stream, __VA_ARGS__, \
                                            const_cast<decltype(tiling)*>(&tiling)))
#else
// CANN 8.5 and later: this file is compiled as Ascend C, host and device code together.
#include "acl/acl.h"
#include "kernels/op_kernel/group_norm_grad.cpp"

#define START(kernel, blocks, stream, tiling, ...)                            \
  (kernel<<<static_cast<uint32_t>(blocks), 0, stream>>>(__VA_ARGS__, tiling), \
   aclrtGetLastError(ACL_RT_THREAD_LEVEL))
#endif

namespace {

// The kernels take pointers to bytes that they may write to, whichever they are.
uint8_t* Bytes(const void* address) { return static_cast<uint8_t*>(const_cast<void*>(address)); }

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t GroupNormGradKernelLaunch(
    const GroupNormGradLaunch* launch, void* stream) {
  using group_norm_grad::DType;
  const int32_t blocks = launch->plan->blocks;
  const group_norm_grad::GroupNormGradTiling& tiling = launch->plan->tiling;
#define ARGUMENTS                                                                          \
  Bytes(launch->grad_out), Bytes(launch->input), Bytes(launch->mean), Bytes(launch->rstd), \
      Bytes(launch->weight), Bytes(launch->grad_input), Bytes(launch->grad_weight),        \
      Bytes(launch->grad_bias), Bytes(launch->workspace)
  switch (launch->problem->dtype) {
    case DType::kFloat32:
      return START(group_norm_grad_float32, blocks, stream, tiling, ARGUMENTS);
    case DType::kFloat16:
      return START(group_norm_grad_float16, blocks, stream, tiling, ARGUMENTS);
    case DType::kBFloat16:
      return START(group_norm_grad_bfloat16, blocks, stream, tiling, ARGUMENTS);
    default:
      return -1;
  }
}

extern "C" __attribute__((visibility("default"))) const char* GroupNormGradKernelId(void) {
  return GROUP_NORM_GRAD_KERNEL_ID;
}
