// The choices behind plan.h, each with its reason. Nothing here may depend on a tensor or on what
// runs beside.
#include "plan.h"

#include <algorithm>
#include <sstream>

namespace group_norm_grad::cpu {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Channels of a channels-last block: enough to fill whole cache lines and to run the vectors, few
// enough that the block's per-channel arrays stay in the first cache.
constexpr int64_t kBlockChannels = 512;
constexpr int64_t kLeastRowBytes = 256;

// Rows shorter than this cost more in their last steps and their horizontal sums than a weight for
// each element does.
constexpr int64_t kFlatRowElems = 0;
// Elements whose per-element arrays a flat task keeps, which is what the first cache holds beside
// the data.
constexpr int64_t kFlatElems = 1024;
// Samples summed per element before they go to the partial sums; small enough for many tasks.
constexpr int64_t kFlatSamples = 32;

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
  const int64_t D = problem.D(), S = problem.S;
  Plan plan;
  plan.sample_blocks = problem.N;
  if (channels_last) {
    const int64_t row_bytes = D * SizeOf(problem.dtype);
    // Both inputs of the block stay in the second cache between the two passes, if that leaves rows
    // of whole lines.
    const int64_t in_l2 = machine.l2_bytes * 3 / 4 / (2 * S * row_bytes);
    const int64_t whole_lines = CeilDiv(kLeastRowBytes, row_bytes);
    const int64_t most = std::max<int64_t>(kBlockChannels / D, 1);
    plan.groups = in_l2 >= whole_lines ? std::min(in_l2, most) : most;
    plan.groups = std::clamp<int64_t>(plan.groups, 1, problem.G);
    plan.chunks = CeilDiv(S, kChannelsLastChunkRows);
  } else if (S < kFlatRowElems && D * S >= machine.pair_elems) {
    plan.groups = std::clamp<int64_t>(kFlatElems / (D * S), 1, problem.G);
    plan.samples = std::clamp<int64_t>(problem.N / kFlatSamples, 1, kFlatSamples);
    plan.sample_blocks = CeilDiv(problem.N, plan.samples);
    plan.schedule = Schedule::kFusedFlat;
  } else {
    plan.chunks = CeilDiv(S, kRowChunkElems);
  }
  plan.group_blocks = CeilDiv(problem.G, plan.groups);
  plan.tasks = plan.sample_blocks * plan.group_blocks;
  plan.task_elems = plan.samples * plan.groups * D * S;
  if (plan.schedule == Schedule::kFusedFlat) return plan;
  // Too few tasks to go round: all threads share every group.
  const int64_t chunks =
      channels_last ? problem.N * plan.chunks : problem.N * problem.C * plan.chunks;
  const bool split = plan.tasks < 2 * machine.threads && machine.threads > 1 &&
                     plan.tasks % machine.threads != 0 && chunks > plan.tasks;
  if (channels_last) {
    plan.schedule = split ? Schedule::kSplitChannelsLast : Schedule::kFusedChannelsLast;
  } else {
    plan.schedule = split ? Schedule::kSplitRows : Schedule::kFusedRows;
  }
  return plan;
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
      << " groups=" << plan.groups << " chunks=" << plan.chunks
      << " sample_blocks=" << plan.sample_blocks << " tasks=" << plan.tasks
      << " task_elems=" << plan.task_elems
      << " stream_stores=" << (plan.stream_stores ? "yes" : "no");
  return out.str();
}

}  // namespace group_norm_grad::cpu
