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

// Of a set of elements: their mean, and the sum of squares about it.
struct Moments {
  double count = 0, mean = 0, squares = 0;
};

struct ForwardArgs {
  const void* input;   // T
  void* output;        // T
  const void* weight;  // A (C); never null
  const void* bias;    // A (C); never null
  void* mean;          // A (N, G)
  void* rstd;          // A (N, G)
  void* chunk_sums;    // split schedules only: Moments of a chunk, or A (2, C) for channels last
  int64_t N, C, S, G;
  double eps;
  Plan plan;
};

// Each runs its tasks [begin, end). scratch belongs to the caller's thread.
template <typename Args>
struct Kernels {
  using Run = void (*)(const Args&, int64_t begin, int64_t end, void* scratch);
  Run fused;
  Run sums;    // split schedules only; tasks: chunks of what finish has as one task
  Run finish;  // tasks: groups of a sample, or samples for channels last
  Run apply;   // as sums
};

template <typename Args>
struct KernelsByLayout {
  Kernels<Args> rows;
  Kernels<Args> rows_non_temporal;
  Kernels<Args> flat;  // fused only
  Kernels<Args> channels_last;
};

struct DTypeKernels {
  KernelsByLayout<BackwardArgs> backward;
  KernelsByLayout<ForwardArgs> forward;
  // out[begin..end) = the sum over rows of partial (rows, C), both A.
  void (*sum_rows)(const void* partial, int64_t rows, int64_t C, void* out, int64_t begin,
                   int64_t end);
  // out = n values of in: T to A, A to T.
  void (*to_acc)(const void* in, int64_t n, void* out);
  void (*from_acc)(const void* in, int64_t n, void* out);
  // Where the kernels cannot have every NaN in the A they are given: those n values of A, of in
  // itself or of room. Null where they can.
  const void* (*clean_nans)(const void* in, int64_t n, void* room);
};

struct KernelTable {
  const char* isa;
  int64_t vector_bytes;  // of the vectors of A
  bool masked_steps;     // see Machine
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
