// The project's kernels for dav-3510 on the executor. No code of its own.
#define EXECUTOR_ARCH 3510
#include "kernel_arch.h"
