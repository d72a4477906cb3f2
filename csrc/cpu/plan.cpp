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

}  // namespace

const char* Name(Schedule schedule) {
  switch (schedule) {
    case Schedule::kFusedRows:
      return "fused_rows";
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
  } else {
    plan.chunks = CeilDiv(S, kRowChunkElems);
  }
  plan.group_blocks = CeilDiv(problem.G, plan.groups);
  plan.tasks = problem.N * plan.group_blocks;
  plan.task_elems = plan.groups * D * S;
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
  if (!IsChannelsLast(plan.schedule)) return kRowsScratchArrays * problem.D();
  const int64_t width = IsSplit(plan.schedule) ? problem.C : plan.groups * problem.D();
  return kChannelsLastScratchArrays * CeilDiv(width, pair_elems) * pair_elems;
}

std::string ToString(const Plan& plan) {
  std::ostringstream out;
  out << "schedule=" << Name(plan.schedule) << " groups=" << plan.groups
      << " chunks=" << plan.chunks << " sample_blocks=" << plan.sample_blocks
      << " tasks=" << plan.tasks << " task_elems=" << plan.task_elems
      << " stream_stores=" << (plan.stream_stores ? "yes" : "no");
  return out.str();
}

}  // namespace group_norm_grad::cpu
