// All kernels in one translation unit, for the tool chains that take several entry points a file.
// No code of its own.
#include "group_norm_grad_bfloat16.cpp"
#include "group_norm_grad_float16.cpp"
#include "group_norm_grad_float32.cpp"
