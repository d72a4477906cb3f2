// MakePlan: the schedules' candidates compared, and what follows from the choice: workspace and
// second stage.
#include "plan.h"

#include <stdexcept>
#include <string>

#include "plan_parts.h"

namespace group_norm_grad {
namespace plan_internal {
namespace {

constexpr int64_t kAlignElems = 128;  // 512 bytes of float32: the longest burst of a DMA
constexpr int64_t kMinWorkspaceBytes =
    512;  // a mixed launch wants one though nothing is kept in it
constexpr int64_t kFinishTileElems = 8 * 1024;  // of an output
constexpr int64_t kMinFinishChannels =
    64;  // of a run: rows of partial sums are then bursts of 256 bytes
constexpr int64_t kFinishRunBytes =
    2560;  // of a run: fewer, longer runs while they cost the cores no time
constexpr int64_t kMaxFinishChannels = 4096;

// The second stage: channels dealt to the cores in runs, each run added up over `rows` rows of
// partial sums.
void PlanFinish(const Sizes& sizes, int64_t rows, Candidate& chosen) {
  GroupNormGradTiling& tiling = chosen.tiling;
  const int64_t C = sizes.problem.C;
  const int64_t pieces = std::max<int64_t>(tiling.row_pieces, 1);
  const int64_t share = RoundUp(CeilDiv(C, chosen.blocks), 16);
  const int64_t most = pieces > 1 ? kMinFinishChannels : kMaxFinishChannels;
  tiling.finish_rows = rows;
  const int64_t cheap = std::min<int64_t>(
      128, kFinishRunBytes / (2 * kFloatBytes * std::max<int64_t>(rows, 1)) / 16 * 16);
  tiling.finish_channels =
      static_cast<int32_t>(std::min(std::max({share, kMinFinishChannels, cheap}), most));
  tiling.finish_cores =
      static_cast<int32_t>(std::min<int64_t>(chosen.blocks, CeilDiv(C, tiling.finish_channels)));
  const int64_t tile_rows = std::min(rows, kFinishTileElems / tiling.finish_channels);
  const int64_t tile_pieces =
      std::min(RoundUp(pieces, 8), kFinishTileElems / tiling.finish_channels / 8 * 8);
  tiling.finish_tile_rows = static_cast<int32_t>(std::max<int64_t>(tile_rows, 1));
  tiling.finish_tile_pieces = static_cast<int32_t>(tile_pieces);
  tiling.finish_tile_elems = static_cast<int32_t>(
      tiling.finish_channels * (pieces > 1 ? tile_pieces : std::max<int64_t>(tile_rows, 1)));
  const int64_t outputs = (tiling.want_bias ? 1 : 0) + (tiling.want_weight ? 1 : 0);
  const int64_t channels = outputs * tiling.finish_channels;
  const int64_t bytes = UbCount()
                            .Take(outputs * tiling.finish_tile_elems, kFloatBytes)
                            .Take(channels, kFloatBytes)
                            .Take(channels, kFloatBytes)
                            .Take(kFinishScratch, kFloatBytes)
                            .Take(channels, sizes.element_bytes)
                            .bytes();
  tiling.ub_bytes = static_cast<int32_t>(std::max<int64_t>(tiling.ub_bytes, bytes));
}

int64_t MulOrThrow(int64_t a, int64_t b) {
  const int64_t product = CheckedMul(a, b);
  if (product < 0) {
    throw std::length_error("The workspace does not fit in 64 bits: " + std::to_string(a) + " * " +
                            std::to_string(b) + " values");
  }
  return product;
}

// The exchange between the cores of split groups, then the partial sums of grad_out and of grad_out
// * xhat.
void PlanWorkspace(const Sizes& sizes, int64_t rows, Candidate& chosen) {
  GroupNormGradTiling& tiling = chosen.tiling;
  const bool exchanges = tiling.schedule == Schedule::kSplitGroup && tiling.want_input;
  const int64_t exchange = exchanges ? chosen.blocks * tiling.rounds * 2 * int64_t{kGroupSums} : 0;
  tiling.partial_offset = RoundUp(exchange, kAlignElems);
  if (sizes.WantSums() && (tiling.own_n > 0 || !tiling.sums_are_final)) {
    const int64_t values =
        MulOrThrow(MulOrThrow(rows, sizes.problem.C), std::max<int64_t>(tiling.row_pieces, 1));
    // The owners load both kinds of sums as one run of rows.
    tiling.partial_elems = tiling.own_n > 0 ? values : RoundUp(values, kAlignElems);
  }
  const int64_t sums = MulOrThrow(tiling.partial_elems, 2);
  tiling.workspace_elems =
      std::max(MulOrThrow(tiling.partial_offset + sums, kFloatBytes), kMinWorkspaceBytes) /
      kFloatBytes;
}

// The gradients of weight and bias over no elements.
Candidate ZeroFill(const Sizes& sizes) {
  Candidate zeros;
  zeros.tiling = CommonTiling(sizes);
  zeros.tiling.schedule = Schedule::kZeroFill;
  zeros.blocks = static_cast<int32_t>(
      std::min<int64_t>(sizes.platform.vector_cores, CeilDiv(sizes.problem.C, kMaxFinishChannels)));
  return zeros;
}

Candidate Choose(const Sizes& sizes) {
  Candidate best = BestPieces(sizes);
  if (const std::optional<Candidate> tiles = BestGroupTiles(sizes)) {
    if (tiles->cost <= best.cost) best = *tiles;
  }
  return best;
}

}  // namespace

Sizes::Sizes(const Problem& problem_in, const Platform& platform_in)
    : problem(problem_in),
      platform(platform_in),
      element_bytes(SizeOf(problem_in.dtype)),
      block(kBlockBytes / element_bytes),
      group_elems(problem_in.D() * problem_in.S),
      groups(problem_in.N * problem_in.G),
      reads(problem_in.output_mask[kGradInput] || problem_in.output_mask[kGradWeight] ? 2 : 1),
      writes(problem_in.output_mask[kGradInput] ? 1 : 0) {}

GroupNormGradTiling CommonTiling(const Sizes& sizes) {
  const Problem& problem = sizes.problem;
  GroupNormGradTiling tiling{};
  tiling.N = problem.N;
  tiling.C = problem.C;
  tiling.S = problem.S;
  tiling.G = problem.G;
  tiling.D = problem.D();
  tiling.row_pieces = 1;
  tiling.rounds = 1;
  tiling.neg_inv_group_elems =
      sizes.group_elems > 0 ? static_cast<float>(-1.0 / static_cast<double>(sizes.group_elems)) : 0;
  tiling.stat_is_float = problem.stat_dtype == DType::kFloat32;
  tiling.weight_is_float = problem.weight_dtype == DType::kFloat32;
  tiling.has_weight = problem.has_weight;
  tiling.want_input = problem.output_mask[kGradInput];
  tiling.want_weight = problem.output_mask[kGradWeight];
  tiling.want_bias = problem.output_mask[kGradBias];
  return tiling;
}

}  // namespace plan_internal

Plan MakePlan(const Problem& problem, const Platform& platform) {
  using namespace plan_internal;  // NOLINT: the plan's own parts
  if (problem.dtype == DType::kFloat64) {
    throw std::invalid_argument(std::string("The kernel has no ") + Name(problem.dtype) +
                                "; float32, float16 and bfloat16 only");
  }
  const Sizes sizes(problem, platform);
  const bool no_data = problem.N == 0 || problem.C == 0 || problem.S == 0;
  const bool sums = sizes.WantSums() && problem.C > 0;
  if (no_data ? !sums : !sums && !sizes.WantInput()) return {};

  Candidate chosen = no_data ? ZeroFill(sizes) : Choose(sizes);
  GroupNormGradTiling& tiling = chosen.tiling;
  const int64_t owners = tiling.own_n > 0 ? problem.G : 0;
  const int64_t rows = tiling.schedule == Schedule::kGroupTiles
                           ? (chosen.blocks - owners) / tiling.g_blocks
                           : problem.N;
  tiling.sums_are_final = !no_data && (owners > 0 || (rows == 1 && tiling.row_pieces == 1));
  if (no_data || (sums && !tiling.sums_are_final)) PlanFinish(sizes, rows, chosen);
  PlanWorkspace(sizes, no_data ? 0 : rows, chosen);
  Plan plan;
  plan.schedule = tiling.schedule;
  plan.blocks = chosen.blocks;
  plan.workspace_bytes = tiling.workspace_elems * kFloatBytes;
  plan.tiling = tiling;
  return plan;
}

}  // namespace group_norm_grad
