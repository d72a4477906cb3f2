/* The public header is C too: this must compile as C11 and link. */
#include <aclnnop/aclnn_group_norm_backward.h>

int main(void) {
  uint64_t bytes = 0;
  aclOpExecutor* executor = 0;
  const aclnnStatus status = aclnnGroupNormBackwardGetWorkspaceSize(0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0,
                                                                    0, 0, &bytes, &executor);
  return status == 161001 && executor == 0 && aclnnGroupNormBackwardGetLastError()[0] != 0 ? 0 : 1;
}
