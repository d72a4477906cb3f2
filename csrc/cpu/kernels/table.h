// What the kernels of every instruction set are called with: plain structs and function pointers,
// so that no code compiled for one instruction set is shared with another. Nothing of ATen may be
// included here.
#pragma once

#include <cstdint>

#include "../plan.h"

namespace group_norm_grad::cpu {

// Pointers to T are to the data's dtype, pointers to A to the dtype of its sums: double for double,
// else float.
struct BackwardArgs {
  const void* grad_out;  // T
  const void* input;     // T
  void* grad_input;      // T; null when dropped
  const void* mean;      // A (N, G)
  const void* rstd;      // A (N, G)
  const void* weight;    // A (C); never null
  void* partial_weight;  // A (sample_blocks, C), to be summed over the blocks; null when dropped
  void* partial_bias;    // likewise
  void* chunk_centred;   // A: split schedules only, sums of grad_out * (input - mean) over a chunk
  void* chunk_plain;     // A: likewise of grad_out
  void*
      slopes;  // A (N, G, 2): split schedules only, what grad_input takes of input - mean and of 1
  int64_t N, C, S, G;
  Plan plan;
};

// Runs tasks [begin, end). scratch belongs to the caller's thread.
using BackwardFn = void (*)(const BackwardArgs&, int64_t begin, int64_t end, void* scratch);

struct ForwardArgs {
  const void* input;   // T
  void* output;        // T
  const void* weight;  // A (C); never null
  const void* bias;    // A (C); never null
  void* mean;          // A (N, G)
  void* rstd;          // A (N, G)
  int64_t N, C, S, G;
  double eps;
  Plan plan;
};

using ForwardFn = void (*)(const ForwardArgs&, int64_t begin, int64_t end, void* scratch);

struct ForwardKernels {
  ForwardFn rows;
  ForwardFn rows_non_temporal;
  ForwardFn flat;
  ForwardFn channels_last;
};

struct BackwardKernels {
  BackwardFn fused;
  BackwardFn sums;    // tasks: rows or samples, times chunks
  BackwardFn finish;  // tasks: (n, g)
  BackwardFn apply;   // as sums
};

struct DTypeKernels {
  BackwardKernels rows;
  BackwardKernels rows_non_temporal;
  BackwardKernels flat;  // fused only
  BackwardKernels channels_last;
  ForwardKernels forward;
  // out[begin..end) = the sum over rows of partial (rows, C), both A.
  void (*sum_rows)(const void* partial, int64_t rows, int64_t C, void* out, int64_t begin,
                   int64_t end);
};

struct KernelTable {
  const char* isa;
  int64_t vector_bytes;  // of the vectors of A
  DTypeKernels of[4];    // indexed by DType
};

// Each is defined by kernels/table.cpp, compiled for that instruction set.
namespace isa_default {
const KernelTable& Table();
}
namespace isa_neon {
const KernelTable& Table();
}
namespace isa_avx2 {
const KernelTable& Table();
}
namespace isa_avx512 {
const KernelTable& Table();
}

}  // namespace group_norm_grad::cpu
