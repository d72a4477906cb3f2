/* The aclnn base declarations that aclnn_group_norm_backward.h needs: the CANN toolkit's own where
 * it is on the include path, and the same from its documentation where only the ACL headers are.
 * Nothing of this library may be declared here. */
#ifndef GROUP_NORM_GRAD_ACL_META_H_
#define GROUP_NORM_GRAD_ACL_META_H_

#include "acl/acl.h"

#if defined(__cplusplus) && defined(__has_include)
#if __has_include("aclnn/acl_meta.h") /* C++ only: it includes <cstdint> */
#define GROUP_NORM_GRAD_HAS_ACL_META 1
#endif
#endif

#ifdef GROUP_NORM_GRAD_HAS_ACL_META
#include "aclnn/acl_meta.h"
#else

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aclOpExecutor aclOpExecutor;
typedef struct aclTensor aclTensor;
typedef struct aclScalar aclScalar;
typedef struct aclIntArray aclIntArray;
typedef struct aclBoolArray aclBoolArray;
typedef int32_t aclnnStatus;

aclTensor* aclCreateTensor(const int64_t* viewDims, uint64_t viewDimsNum, aclDataType dataType,
                           const int64_t* stride, int64_t offset, aclFormat format,
                           const int64_t* storageDims, uint64_t storageDimsNum, void* tensorData);
aclnnStatus aclDestroyTensor(const aclTensor* tensor);
aclBoolArray* aclCreateBoolArray(const bool* value, uint64_t size);
aclnnStatus aclDestroyBoolArray(const aclBoolArray* array);

/* The arrays that these two give are the caller's, to be freed with delete[]. */
aclnnStatus aclGetViewShape(const aclTensor* tensor, int64_t** viewDims, uint64_t* viewDimsNum);
aclnnStatus aclGetViewStrides(const aclTensor* tensor, int64_t** stridesValue,
                              uint64_t* stridesNum);
aclnnStatus aclGetStorageShape(const aclTensor* tensor, int64_t** storageDims,
                               uint64_t* storageDimsNum);
aclnnStatus aclGetViewOffset(const aclTensor* tensor, int64_t* offset);
aclnnStatus aclGetFormat(const aclTensor* tensor, aclFormat* format);
aclnnStatus aclGetDataType(const aclTensor* tensor, aclDataType* dataType);
aclnnStatus aclGetRawTensorAddr(const aclTensor* tensor, void** addr);
aclnnStatus aclGetBoolArraySize(const aclBoolArray* array, uint64_t* size);

aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor* executor);
aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor* executor);

#ifdef __cplusplus
}
#endif

#endif /* GROUP_NORM_GRAD_HAS_ACL_META */
#endif /* GROUP_NORM_GRAD_ACL_META_H_ */
