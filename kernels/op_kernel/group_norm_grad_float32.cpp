// The kernel for float32 data. Nothing else: one entry point a file.
#include "entry.h"

GROUP_NORM_GRAD_KERNEL(group_norm_grad_float32, float)
