// Chooses how one backward call walks memory. Pure: a function of the problem and the machine; no
// tensor, no thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "../../kernels/problem.h"

namespace group_norm_grad::cpu {

enum class Schedule : uint8_t {
  kFusedRows,          // contiguous: a group's sums, then its grad_input while it is still in cache
  kFusedFlat,          // contiguous, short rows: as above, a group walked as one row
  kFusedChannelsLast,  // channels last: a sample's block of whole groups, sums then grad_input
  kSplitRows,          // contiguous: every group's sums by all threads, then every grad_input
  kSplitChannelsLast,
};

const char* Name(Schedule schedule);

struct Machine {
  int64_t l2_bytes = 512 << 10;  // of one core
  int64_t l3_bytes = 16 << 20;   // all of it
  int64_t threads = 1;
  int64_t pair_elems = 16;    // elements of one kernel step (Pair in kernels/vec.h)
  bool masked_steps = false;  // a step's first elements are loaded and stored as fast as all of it
};

// A sum runs over chunks of so many elements of a row, or rows of a channels-last sample, in float;
// the chunks are then added with their rounding errors kept. So the error does not grow with S, and
// no schedule changes a bit. A row's chunk is shared by the lanes of two steps, about so many
// elements a lane at most, however narrow the vectors are.
constexpr int64_t kMostLaneElems = 128;
constexpr int64_t RowChunkElems(int64_t pair_elems) {
  return std::min<int64_t>(2 * kMostLaneElems * pair_elems, 4096);
}
constexpr int64_t kChannelsLastChunkRows = 68;  // four times an odd number: see ForRows

// A group larger than the second cache is written from its end backwards, in parts of so many
// elements: long enough for the prefetchers.
constexpr int64_t kBackwardsElems = 64 << 10;

struct Plan {
  Schedule schedule = Schedule::kFusedRows;
  int64_t samples = 1;        // N of one task
  int64_t groups = 1;         // groups of one task
  int64_t sample_blocks = 0;  // rows of the partial grad_weight and grad_bias
  int64_t group_blocks = 0;
  int64_t chunks = 1;   // of a row, or of a channels-last sample
  int64_t stretch = 1;  // chunks of a channels-last sample that are walked together: see ForChunk
  int64_t tasks = 0;    // of the fused pass; a split pass has its own counts
  int64_t task_elems = 0;
  bool in_cache = false;      // a task's inputs stay in the second cache between the two passes
  bool non_temporal = false;  // what is written goes past the caches
  bool prefetch = false;      // the next task's inputs are brought while one's result is computed
};

// Per-channel arrays in the scratch of a channels-last task, and of a task over rows.
constexpr int64_t kChannelsLastScratchArrays = 13;
constexpr int64_t kRowsScratchArrays = 2;
// Arrays with one value an element of a group, for each group of a flat task; and one more.
constexpr int64_t kFlatScratchArrays = 4;

bool IsSplit(Schedule schedule);
bool IsChannelsLast(Schedule schedule);

// Arrays in the scratch of a forward channels-last task.
constexpr int64_t kForwardChannelsLastScratchArrays = 10;

// N, C and S must be at least 1.
Plan MakeForwardPlan(const Problem& problem, bool channels_last, const Machine& machine);
int64_t ForwardScratchElems(const Plan& plan, const Problem& problem, int64_t pair_elems);
Plan MakeBackwardPlan(const Problem& problem, bool channels_last, const Machine& machine);

// Elements that one thread needs as scratch, of the dtype of the sums.
int64_t ScratchElems(const Plan& plan, const Problem& problem, int64_t pair_elems);

std::string ToString(const Plan& plan);

}  // namespace group_norm_grad::cpu
