// The choices behind plan.h, each with its reason. Nothing here may depend on a tensor or on what
// runs beside.
#include "plan.h"

#include <algorithm>
#include <sstream>

namespace group_norm_grad::cpu {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Channels of a channels-last block whose arrays by channel stay in the first two caches.
constexpr int64_t kBlockChannels = 2048;
// Rows shorter than this cost more in their last steps and their horizontal sums than a weight for
// each element does.
constexpr int64_t kFlatRowElems = 16;
// Elements whose per-element arrays a flat task keeps, which is what the first cache holds beside
// the data.
constexpr int64_t kFlatElems = 1024;
// Blocks of samples, each summed by element before it goes to the partial sums: few, for what a
// block costs at its ends, but enough for the threads.
constexpr int64_t kFlatSampleBlocks = 16;
constexpr int64_t kMostFlatSamples = 64;
// Samples that are enough to share the weights of the elements.
constexpr int64_t kLeastFlatSamples = 64;

// The groups of one sample that a channels-last task takes: all, or blocks of equal size. Rows are
// not cut for the second cache's sake: parts of rows a power of two apart share few of its sets,
// and the prefetchers lose them.
int64_t ChannelsLastGroups(const Problem& problem) {
  const int64_t groups = std::max<int64_t>(kBlockChannels / problem.D(), 1);
  return CeilDiv(problem.G, CeilDiv(problem.G, groups));
}

// Bytes of a run of rows that the prefetchers find worth following.
constexpr int64_t kRunBytes = 32 << 10;

// Chunks of channels-last rows to be walked together, an odd number: their quarters make such a
// run.
int64_t ChannelsLastStretch(const Problem& problem) {
  const int64_t quarter_bytes = kChannelsLastChunkRows / 4 * problem.C * SizeOf(problem.dtype);
  return (std::max<int64_t>(kRunBytes / quarter_bytes, 1) - 1) | 1;
}

// Weights an element are worth their preparation when several samples share them, or when rows are
// so short that a step for each is slower still.
bool IsFlat(const Problem& problem, const Machine& machine) {
  const bool shared = problem.N >= kLeastFlatSamples;
  if (machine.masked_steps) {
    // A float32 row that is just one vector is as fast or faster.
    if (!Is16Bit(problem.dtype) && 2 * problem.S == machine.pair_elems) return false;
    return problem.S == 1 || (shared && problem.S < machine.pair_elems * 3 / 4);
  }
  return problem.S < machine.pair_elems || (shared && problem.S < kFlatRowElems);
}

void PlanFlat(const Problem& problem, Plan& plan) {
  plan.schedule = Schedule::kFusedFlat;
  plan.groups = std::clamp<int64_t>(kFlatElems / (problem.D() * problem.S), 1, problem.G);
  plan.samples = std::clamp<int64_t>(problem.N / kFlatSampleBlocks, 1, kMostFlatSamples);
  plan.sample_blocks = CeilDiv(problem.N, plan.samples);
}

// Whether so many groups of one tensor stay in the second cache, beside what is written.
bool FitsL2(const Problem& problem, const Machine& machine, int64_t groups) {
  return groups * problem.D() * problem.S * SizeOf(problem.dtype) <= machine.l2_bytes * 3 / 4;
}

// Whether the last of so many tensors of the problem is written past the caches. Where they are
// much larger than the last cache, its reader would not find it there in any case. One thread alone
// gains from less on, as it waits longest for the lines that it is to overwrite; several have the
// cache's bandwidth, which is more than the memory's.
bool IsNonTemporal(const Problem& problem, const Machine& machine, int64_t tensors) {
  const int64_t bytes = tensors * problem.N * problem.C * problem.S * SizeOf(problem.dtype);
  return bytes > machine.l3_bytes / 4 * (machine.threads == 1 ? 3 : 5);
}

// Second caches that a task's inputs may take for those of the next one to be worth bringing.
constexpr int64_t kBroughtCaches = 4;

// Whether a channels-last task, which reads so many tensors, prefetches the rows of the next one
// while it computes its result, when the memory has little else to do. Rows that may push its own
// out of the second cache are worth it only where they come from the memory.
bool BringsNext(const Problem& problem, const Machine& machine, const Plan& plan, int64_t tensors) {
  const int64_t groups = CeilDiv(tensors * plan.groups, kBroughtCaches);
  return plan.in_cache || (plan.non_temporal && FitsL2(problem, machine, groups));
}

// A group that ends within a line leaves its other part to the next one, and lines written past the
// caches in two parts are slow: of long groups they are few.
constexpr int64_t kLineBytes = 64;
constexpr int64_t kLongGroupBytes = 4096;

bool HasFewSharedLines(const Problem& problem) {
  const int64_t bytes = problem.D() * problem.S * SizeOf(problem.dtype);
  return bytes % kLineBytes == 0 || bytes >= kLongGroupBytes;
}

void CountTasks(const Problem& problem, Plan& plan) {
  plan.group_blocks = CeilDiv(problem.G, plan.groups);
  plan.tasks = plan.sample_blocks * plan.group_blocks;
  plan.task_elems = plan.samples * plan.groups * problem.D() * problem.S;
}

// Too few tasks to go round: all threads share every group. rows: of a contiguous group, each of
// plan.chunks.
void ChooseSplit(const Problem& problem, bool channels_last, const Machine& machine, int64_t rows,
                 Plan& plan) {
  if (plan.schedule == Schedule::kFusedFlat) return;
  const int64_t chunks = problem.N * plan.chunks * (channels_last ? 1 : problem.G * rows);
  const bool split = plan.tasks < 2 * machine.threads && machine.threads > 1 &&
                     plan.tasks % machine.threads != 0 && chunks > plan.tasks;
  plan.prefetch = plan.prefetch && !split;
  if (channels_last) {
    plan.schedule = split ? Schedule::kSplitChannelsLast : Schedule::kFusedChannelsLast;
  } else {
    plan.schedule = split ? Schedule::kSplitRows : Schedule::kFusedRows;
  }
}

}  // namespace

const char* Name(Schedule schedule) {
  switch (schedule) {
    case Schedule::kFusedRows:
      return "fused_rows";
    case Schedule::kFusedFlat:
      return "fused_flat";
    case Schedule::kFusedChannelsLast:
      return "fused_channels_last";
    case Schedule::kSplitRows:
      return "split_rows";
    case Schedule::kSplitChannelsLast:
      return "split_channels_last";
  }
  return "?";
}

bool IsSplit(Schedule schedule) {
  return schedule == Schedule::kSplitRows || schedule == Schedule::kSplitChannelsLast;
}

bool IsChannelsLast(Schedule schedule) {
  return schedule == Schedule::kFusedChannelsLast || schedule == Schedule::kSplitChannelsLast;
}

Plan MakeBackwardPlan(const Problem& problem, bool channels_last, const Machine& machine) {
  Plan plan;
  plan.sample_blocks = problem.N;
  plan.non_temporal = IsNonTemporal(problem, machine, 3);
  if (channels_last) {
    plan.groups = ChannelsLastGroups(problem);
    plan.chunks = CeilDiv(problem.S, kChannelsLastChunkRows);
    plan.stretch = ChannelsLastStretch(problem);
    plan.in_cache = FitsL2(problem, machine, 2 * plan.groups);
    plan.prefetch = BringsNext(problem, machine, plan, 2);
  } else if (IsFlat(problem, machine)) {
    PlanFlat(problem, plan);
  } else {
    plan.chunks = CeilDiv(problem.S, RowChunkElems(machine.pair_elems));
    plan.in_cache = FitsL2(problem, machine, 2);
    plan.non_temporal = plan.non_temporal && HasFewSharedLines(problem);
  }
  CountTasks(problem, plan);
  ChooseSplit(problem, channels_last, machine, problem.D(), plan);
  return plan;
}

Plan MakeForwardPlan(const Problem& problem, bool channels_last, const Machine& machine) {
  Plan plan;
  plan.sample_blocks = problem.N;
  plan.non_temporal = IsNonTemporal(problem, machine, 2);
  if (channels_last) {
    plan.groups = ChannelsLastGroups(problem);
    plan.chunks = CeilDiv(problem.S, kChannelsLastChunkRows);
    plan.stretch = ChannelsLastStretch(problem);
    plan.in_cache = FitsL2(problem, machine, plan.groups);
    plan.prefetch = BringsNext(problem, machine, plan, 1);
  } else if (IsFlat(problem, machine)) {
    PlanFlat(problem, plan);
  } else {
    plan.chunks = CeilDiv(problem.D() * problem.S, RowChunkElems(machine.pair_elems));
    plan.in_cache = FitsL2(problem, machine, 1);
    plan.non_temporal = plan.non_temporal && HasFewSharedLines(problem);
  }
  CountTasks(problem, plan);
  ChooseSplit(problem, channels_last, machine, 1, plan);
  return plan;
}

int64_t ForwardScratchElems(const Plan& plan, const Problem& problem, int64_t pair_elems) {
  const auto padded = [&](int64_t n) { return CeilDiv(n, pair_elems) * pair_elems; };
  if (plan.schedule == Schedule::kFusedFlat) {
    return padded(problem.D() * problem.S) * (1 + 2 * plan.groups);
  }
  if (!IsChannelsLast(plan.schedule)) return 0;
  const int64_t width = IsSplit(plan.schedule) ? problem.C : plan.groups * problem.D();
  return padded(width) * kForwardChannelsLastScratchArrays;
}

int64_t ScratchElems(const Plan& plan, const Problem& problem, int64_t pair_elems) {
  if (plan.schedule == Schedule::kFusedFlat) {
    const int64_t padded = CeilDiv(problem.D() * problem.S, pair_elems) * pair_elems;
    return padded * (1 + kFlatScratchArrays * plan.groups);
  }
  if (!IsChannelsLast(plan.schedule)) return kRowsScratchArrays * problem.D();
  const int64_t width = IsSplit(plan.schedule) ? problem.C : plan.groups * problem.D();
  return kChannelsLastScratchArrays * CeilDiv(width, pair_elems) * pair_elems;
}

std::string ToString(const Plan& plan) {
  std::ostringstream out;
  out << "schedule=" << Name(plan.schedule) << " samples=" << plan.samples
      << " groups=" << plan.groups << " chunks=" << plan.chunks << " stretch=" << plan.stretch
      << " sample_blocks=" << plan.sample_blocks << " tasks=" << plan.tasks
      << " task_elems=" << plan.task_elems << " in_cache=" << (plan.in_cache ? "yes" : "no")
      << " non_temporal=" << (plan.non_temporal ? "yes" : "no")
      << " prefetch=" << (plan.prefetch ? "yes" : "no");
  return out.str();
}

}  // namespace group_norm_grad::cpu
