// The project's kernels for dav-2201 on the executor. No code of its own.
#define EXECUTOR_ARCH 2201
#include "kernel_arch.h"
