// Candidates for Schedule::kGroupTiles: how N and G are shared out, and what a tile and a compute
// unit hold.
#include "plan_parts.h"

namespace group_norm_grad::plan_internal {
namespace {

constexpr int64_t kMaxGroupElems = 64 * 1024;  // more never fits beside anything else
constexpr int64_t kTileBytes = 25 * 1024;      // of one tensor; past 16 KiB the DMA rate is flat
constexpr int64_t kMinTiles = 5;               // a core's, if its share allows it
constexpr int64_t kMinLaneTiles = 4;           // and with S = 1, where a tile's starts weigh more
constexpr int64_t kWindowEntries = 256;        // statistics in the unified buffer at once
constexpr int64_t kWindowValues = 2048;        // values a channel in the unified buffer at once
constexpr int64_t kMaxUnitGroups = 240;
constexpr int64_t kMinOwnDmaBytes = 16 * 1024;
constexpr int64_t kMostOwnN = 128;  // n's of an owner
constexpr int64_t kUnitElems = 16 * 1024;

struct Cut {
  int64_t n, g;  // groups of the largest core, owners left out
};

// Statistics of one n in the unified buffer: all of G, or g rounded up to a block, or one value
// packed later.
struct Statistics {
  int64_t elems, entries;
};

// Of a window of the owners': one value a block, packed later.
Statistics OwnStatistics(const Sizes& sizes, int64_t own_n) {
  const int64_t block = kBlockBytes / SizeOf(sizes.problem.stat_dtype);
  return {RoundUp(own_n * block, 16), RoundUp(own_n, 16)};
}

Statistics StatisticsOf(const Sizes& sizes, int64_t window_n, int64_t window_g) {
  if (window_g >= sizes.problem.G) {
    const int64_t dense = RoundUp(window_n * sizes.problem.G, 16);
    return {dense, dense};
  }
  const int64_t block = kBlockBytes / SizeOf(sizes.problem.stat_dtype);
  // A core with fewer groups than the window, or the last window, may have the padded layout though
  // the full one has not.
  const int64_t padded = window_n * RoundUp(window_g, block);
  return {RoundUp(padded, 16), RoundUp(window_g == 1 ? window_n : padded, 16)};
}

int64_t UbBytes(const Sizes& sizes, const GroupNormGradTiling& tiling) {
  const int64_t unit_groups = int64_t{tiling.unit_n} * tiling.unit_g;
  const int64_t values = unit_groups * tiling.channel_pitch;
  const int64_t window_values = int64_t{tiling.window_g} * tiling.channel_pitch;
  const int64_t packed = RoundUp(unit_groups, 8);
  UbCount count;
  count.TakeShared(tiling, sizes.element_bytes).Take(4 * values, kFloatBytes);
  if (tiling.unit_n > 1) count.Take(values, kFloatBytes);
  if (tiling.own_n > 0) {
    count.Take(2 * tiling.finish_rows * tiling.channel_pitch, kFloatBytes);
  }
  if (sizes.problem.S > 1) count.Take(values * 8, kFloatBytes);
  count.Take(2 * packed, kFloatBytes).Take(2 * packed * 8, kFloatBytes);
  count.Take(2 * window_values, kFloatBytes).Take(window_values, kFloatBytes);
  count.Take(2 * tiling.stat_elems, kFloatBytes).Take(tiling.stat_entries, kFloatBytes);
  for (int32_t i = 0; i < 2; ++i) count.Take(tiling.stat_entries * 8, kFloatBytes);
  if (!tiling.stat_is_float) count.Take(2 * tiling.stat_elems, sizes.element_bytes);
  if (!tiling.weight_is_float) {
    count.Take(2 * RoundUp(window_values, sizes.block), sizes.element_bytes);
  }
  return count.bytes();
}

// The groups of a compute unit: as many of the tile's as `most`, whole rows of it where it spans
// several n.
void SetUnit(GroupNormGradTiling& tiling, int64_t most, bool uniform) {
  most = std::max<int64_t>(1, std::min(most, kMaxUnitGroups));
  tiling.unit_g = static_cast<int32_t>(CeilDiv(tiling.tile_g, CeilDiv(tiling.tile_g, most)));
  tiling.unit_n = 1;
  if (uniform && tiling.unit_g == tiling.tile_g) {
    tiling.unit_n = static_cast<int32_t>(
        std::max<int64_t>(1, std::min<int64_t>(tiling.tile_n, most / tiling.tile_g)));
  }
}

// The largest tile of at most `groups` groups that fits, with the deepest ring and the largest
// compute unit. False: none.
bool FitTile(const Sizes& sizes, const Cut& cut, int64_t groups, GroupNormGradTiling& tiling) {
  const int64_t group_pitch = tiling.group_pitch;
  const int64_t G = sizes.problem.G;
  if (cut.g <= groups) {
    tiling.tile_g = static_cast<int32_t>(cut.g);
    tiling.tile_n = static_cast<int32_t>(std::min(cut.n, groups / cut.g));
  } else {
    // Tiles of equal size, so that the last is not a short one.
    tiling.tile_g = static_cast<int32_t>(CeilDiv(cut.g, CeilDiv(cut.g, groups)));
    tiling.tile_n = 1;
  }
  const int64_t window_g =
      std::min(cut.g, std::min(kWindowEntries, kWindowValues / tiling.channel_pitch));
  tiling.window_g = static_cast<int32_t>(RoundUp(std::max<int64_t>(window_g, 1), tiling.tile_g));
  const int64_t per_n = RoundUp(tiling.window_g, 16);
  const int64_t window_n = std::max<int64_t>(1, kWindowEntries / (cut.g == 1 ? 1 : per_n));
  tiling.window_n = static_cast<int32_t>(std::min<int64_t>(
      cut.n, std::max<int64_t>(tiling.tile_n, window_n / tiling.tile_n * tiling.tile_n)));
  const Statistics statistics = StatisticsOf(sizes, tiling.window_n, tiling.window_g);
  const Statistics own = OwnStatistics(sizes, tiling.own_n);
  tiling.stat_elems = static_cast<int32_t>(std::max(statistics.elems, own.elems));
  tiling.stat_entries = static_cast<int32_t>(std::max(statistics.entries, own.entries));
  const int64_t tile_groups = int64_t{tiling.tile_n} * tiling.tile_g;
  const int64_t stat_block = kBlockBytes / SizeOf(sizes.problem.stat_dtype);
  // Statistics of consecutive groups of a tile are then consecutive, or equally far apart.
  const bool uniform = tiling.tile_g == 1 || tiling.tile_g == G ||
                       (tiling.window_g == tiling.tile_g && tiling.tile_g % stat_block == 0);
  tiling.slot_elems = static_cast<int32_t>(tile_groups * group_pitch);
  const int64_t row = std::max<int32_t>(tiling.row_pitch, 1);
  for (int64_t parts = 1;; parts += parts < 4 ? 1 : parts) {
    // Compute units: the tile, equal parts of it, ... one group, then for 16-bit data rows of a
    // group.
    const int64_t unit_groups =
        std::max<int64_t>(1, std::min(CeilDiv(tile_groups, parts), kUnitElems / group_pitch));
    SetUnit(tiling, unit_groups, uniform);
    const int64_t unit_elems = int64_t{tiling.unit_n} * tiling.unit_g * group_pitch;
    tiling.work_elems = sizes.IsFloat() ? 0 : static_cast<int32_t>(unit_elems);
    tiling.work_rows = static_cast<int32_t>(tiling.D);
    for (int32_t slots : {3, 2}) {
      for (int32_t scratch : {8448, 4352, 2048}) {
        tiling.slots = slots;
        tiling.scratch_elems = scratch;
        const int64_t room = sizes.platform.ub_bytes - UbBytes(sizes, tiling);
        if (room < 0) continue;
        // What the ring leaves, up to the products and trees of a unit: fewer instructions.
        tiling.scratch_elems +=
            static_cast<int32_t>(std::min(room / kFloatBytes, unit_elems) / 64 * 64);
        tiling.ub_bytes = static_cast<int32_t>(UbBytes(sizes, tiling));
        return true;
      }
    }
    if (unit_groups == 1) break;
  }
  if (sizes.IsFloat() || sizes.problem.S == 1) return false;
  for (int64_t parts = 2; parts <= tiling.D; parts *= 2) {
    int64_t rows = CeilDiv(tiling.D, parts);
    if (row <= kNarrowLanes) rows = RoundUp(rows, 8);
    tiling.work_rows = static_cast<int32_t>(rows);
    tiling.work_elems = static_cast<int32_t>(rows * row);
    for (int32_t slots : {3, 2}) {
      tiling.slots = slots;
      tiling.scratch_elems = 2048;
      tiling.ub_bytes = static_cast<int32_t>(UbBytes(sizes, tiling));
      if (tiling.ub_bytes <= sizes.platform.ub_bytes) return true;
    }
  }
  return false;
}

double CostOf(const Sizes& sizes, const Cut& cut, int64_t n_blocks,
              const GroupNormGradTiling& tiling) {
  const double tensors = static_cast<double>(sizes.reads + sizes.writes);
  const double groups = static_cast<double>(cut.n) * static_cast<double>(cut.g);
  double bytes = groups * static_cast<double>(sizes.group_elems * sizes.element_bytes) * tensors;
  if (!sizes.IsFloat() && tiling.work_rows < tiling.D) bytes *= 1 + CostRates::kConvertWeight;
  const double tiles =
      static_cast<double>(CeilDiv(cut.n, tiling.tile_n) * CeilDiv(cut.g, tiling.tile_g));
  const bool padded =
      sizes.problem.S > 1 ? tiling.row_pitch != sizes.problem.S : tiling.channel_pitch != tiling.D;
  const double moves = padded ? static_cast<double>(tiling.tile_n) : 1;
  bytes += CostRates::kDmaBytes * tiles * tensors * moves;
  if (tiles > 1 && tiling.slots == 2) bytes *= 1 + CostRates::kShallowRing;
  if (n_blocks > 1 && sizes.WantSums()) {
    bytes += CostRates::kSyncBytes + 4.0 * kFloatBytes * static_cast<double>(cut.g * tiling.D);
  }
  return bytes;
}

void SetShares(int64_t n_blocks, int64_t g_blocks, GroupNormGradTiling& tiling) {
  const int64_t N = tiling.N - tiling.own_n;
  tiling.g_blocks = static_cast<int32_t>(g_blocks);
  tiling.n_base = N / n_blocks;
  tiling.n_larger = N % n_blocks;
  tiling.g_base = tiling.G / g_blocks;
  tiling.g_larger = tiling.G % g_blocks;
}

// The tile of a core with this cut, smaller ones where it does not fit; false: none does.
bool FitShare(const Sizes& sizes, const Cut& cut, GroupNormGradTiling& tiling) {
  // Several tiles a core, so that loads, arithmetic and stores overlap.
  const int64_t wanted =
      std::max<int64_t>(1, kTileBytes / sizes.element_bytes / tiling.group_pitch);
  const int64_t tiles = sizes.problem.S == 1 ? kMinLaneTiles : kMinTiles;
  const int64_t load = SaturatingMul(cut.n, cut.g);
  int64_t groups = std::min(wanted, std::max<int64_t>(1, CeilDiv(load, tiles)));
  if (groups > cut.g) groups = groups / cut.g * cut.g;
  bool fits = FitTile(sizes, cut, groups, tiling);
  while (!fits && groups > 1) {
    groups /= 2;
    if (groups > cut.g) groups = groups / cut.g * cut.g;
    fits = FitTile(sizes, cut, groups, tiling);
  }
  return fits;
}

// Cuts in which every g has an owner, and the other cores are done so much earlier that their sums
// are there when the owners want them.
void ConsiderOwners(const Sizes& sizes, const GroupNormGradTiling& common,
                    std::optional<Candidate>& best) {
  const Problem& problem = sizes.problem;
  const int64_t others = sizes.platform.vector_cores - problem.G;
  const bool both = common.want_bias && common.want_weight && problem.S > 1;
  // An owner moves one group of an n at a time.
  if (others < 1 || !both || sizes.group_elems * sizes.element_bytes < kMinOwnDmaBytes) return;
  const double group =
      static_cast<double>(sizes.group_elems * sizes.element_bytes * (sizes.reads + sizes.writes));
  const int64_t most = std::min(problem.N - 1, kMostOwnN);
  for (int64_t g_blocks = 1; g_blocks <= std::min(problem.G, others); ++g_blocks) {
    const int64_t g = CeilDiv(problem.G, g_blocks);
    if (CeilDiv(problem.G, g) < g_blocks) continue;
    for (int64_t own_n = CeilDiv(problem.N, 4); own_n <= most; ++own_n) {
      const int64_t rest = problem.N - own_n;
      const int64_t n_blocks = std::min(rest, others / g_blocks);
      const Cut cut{CeilDiv(rest, n_blocks), g};
      const double load = static_cast<double>(cut.n * cut.g) * group + CostRates::kFlightBytes;
      const double cost =
          std::max(static_cast<double>(own_n) * group, load) + CostRates::kOthersWeight * load;
      if (best && cost >= best->cost) continue;
      Candidate candidate{cost, static_cast<int32_t>(problem.G + n_blocks * g_blocks), common};
      GroupNormGradTiling& tiling = candidate.tiling;
      tiling.own_n = static_cast<int32_t>(own_n);
      tiling.finish_rows = n_blocks;
      if (!FitShare(sizes, cut, tiling)) continue;
      SetShares(n_blocks, g_blocks, tiling);
      best = candidate;
    }
  }
}

}  // namespace

std::optional<Candidate> BestGroupTiles(const Sizes& sizes) {
  const Problem& problem = sizes.problem;
  const int64_t row_pitch = problem.S == 1 ? 0 : RoundUp(problem.S, sizes.block);
  // Values a channel of consecutive groups without gaps where float32 allows it.
  const bool dense = problem.S > 1 && problem.D() % 8 == 0;
  const int64_t channel_pitch = dense ? problem.D() : RoundUp(problem.D(), sizes.block);
  const int64_t group_pitch =
      problem.S == 1 ? channel_pitch : SaturatingMul(problem.D(), row_pitch);
  if (group_pitch > kMaxGroupElems || channel_pitch > kMaxGroupElems) return std::nullopt;
  GroupNormGradTiling common = CommonTiling(sizes);
  common.schedule = Schedule::kGroupTiles;
  common.row_pitch = static_cast<int32_t>(row_pitch);
  common.channel_pitch = static_cast<int32_t>(channel_pitch);
  common.group_pitch = static_cast<int32_t>(group_pitch);

  std::optional<Candidate> best;
  const int64_t cores = sizes.platform.vector_cores;
  for (int64_t g_blocks = 1; g_blocks <= std::min(problem.G, cores); ++g_blocks) {
    const int64_t g = CeilDiv(problem.G, g_blocks);
    if (g_blocks > 1 && CeilDiv(problem.G, g) < g_blocks)
      continue;  // fewer cores carry the same load
    for (int64_t n_blocks = 1; n_blocks <= std::min(problem.N, cores / g_blocks); ++n_blocks) {
      const Cut cut{CeilDiv(problem.N, n_blocks), g};
      if (n_blocks > 1 && CeilDiv(problem.N, cut.n) < n_blocks) continue;
      const double least = static_cast<double>(cut.n) * static_cast<double>(cut.g) *
                           static_cast<double>(sizes.group_elems * sizes.element_bytes *
                                               (sizes.reads + sizes.writes));
      if (best && least > best->cost) continue;
      Candidate candidate{0, static_cast<int32_t>(n_blocks * g_blocks), common};
      if (!FitShare(sizes, cut, candidate.tiling)) continue;
      SetShares(n_blocks, g_blocks, candidate.tiling);
      candidate.cost = CostOf(sizes, cut, n_blocks, candidate.tiling);
      if (!best || candidate.cost < best->cost) best = candidate;
    }
  }
  ConsiderOwners(sizes, common, best);
  return best;
}

}  // namespace group_norm_grad::plan_internal
