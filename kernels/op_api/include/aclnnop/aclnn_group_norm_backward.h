/* The gradient of group normalisation as CANN's two-phase operator API: phase 1 checks the
 * arguments and says how much device workspace is needed, phase 2 enqueues the work on a stream.
 * For C and C++; link with -lcust_opapi, before -lnnopbase. */
#ifndef GROUP_NORM_GRAD_ACLNN_GROUP_NORM_BACKWARD_H_
#define GROUP_NORM_GRAD_ACLNN_GROUP_NORM_BACKWARD_H_

#include "aclnnop/group_norm_grad_acl_meta.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Phase 1. With xhat = (input - mean) * rstd, per group of C/group channels and HxW positions:
 *   gradBetaOut = sum of gradOut and gradGammaOut = sum of gradOut * xhat, over N and HxW, per
 * channel; gradInput = rstd * (gamma * gradOut - avg(gamma * gradOut) - xhat * avg(gamma * gradOut
 * * xhat)).
 *
 * gradOut, input:      0 to 8 dims, N*C*HxW elements; float32, float16 or bfloat16, both the same.
 * mean, rstd:          0 to 8 dims, N*group elements; of gradOut's dtype, or float32.
 * gamma:               C elements, of mean's dtype; null for ones.
 * outputMask:          three values: which of the three outputs to write. The others may be null.
 * gradInput:           input's shape, gradOut's dtype.
 * gradGammaOut, gradBetaOut: gamma's shape, or (C) without gamma; mean's dtype.
 * workspaceSize:       receives the bytes that phase 2 needs.
 * executor:            receives what phase 2 takes. It serves one phase 2, on any thread, after
 * which it is gone; with aclSetAclOpExecutorRepeatable it serves any number, also at the same time,
 * until aclDestroyAclOpExecutor. The tensors may be destroyed after phase 1; their memory must
 * stay.
 *
 * All tensors may be empty or non-contiguous; their format is ND (or NCL, NCHW, NCDHW, which is the
 * same). Returns 0, or 161001 for a missing argument, 161002 for a wrong one, 361001 when a call of
 * the runtime failed, 561003 when the device binary of the kernel is not installed, with nothing
 * written to any argument. Results are deterministic whatever ACL_OPT_DETERMINISTIC says. On the
 * Atlas training series, for which there is no kernel, CANN's own operator runs. */
__attribute__((visibility("default"))) aclnnStatus aclnnGroupNormBackwardGetWorkspaceSize(
    const aclTensor* gradOut, const aclTensor* input, const aclTensor* mean, const aclTensor* rstd,
    const aclTensor* gamma, int64_t N, int64_t C, int64_t HxW, int64_t group,
    const aclBoolArray* outputMask, aclTensor* gradInput, aclTensor* gradGammaOut,
    aclTensor* gradBetaOut, uint64_t* workspaceSize, aclOpExecutor** executor);

/* Phase 2. The device of the stream must be current in the calling thread, as for every call of the
 * runtime. */
__attribute__((visibility("default"))) aclnnStatus aclnnGroupNormBackward(void* workspace,
                                                                          uint64_t workspaceSize,
                                                                          aclOpExecutor* executor,
                                                                          const aclrtStream stream);

/* The reason of the last error that one of these returned on this thread, with the values got;
 * never null. */
__attribute__((visibility("default"))) const char* aclnnGroupNormBackwardGetLastError(void);

#ifdef __cplusplus
}
#endif

#endif /* GROUP_NORM_GRAD_ACLNN_GROUP_NORM_BACKWARD_H_ */
