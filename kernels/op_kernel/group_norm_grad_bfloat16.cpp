// The kernel for bfloat16 data. Nothing else: one entry point a file.
#include "entry.h"

GROUP_NORM_GRAD_KERNEL(group_norm_grad_bfloat16, bfloat16_t)
