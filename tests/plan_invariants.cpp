// Checks the plan's promises on random problems: run as `plan_invariants COUNT SEED`, prints one
// line, exits 1 at the first broken one. Nothing of the kernel or the executor: the promises are
// stated here a second time, from the tiling's description.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kernels/op_host/plan.h"

namespace {

using group_norm_grad::DType;
using group_norm_grad::GroupNormGradTiling;
using group_norm_grad::Plan;
using group_norm_grad::Platform;
using group_norm_grad::Problem;
using group_norm_grad::Schedule;

constexpr int64_t kMaxMarks =
    20000;  // items that a problem may have for each to be marked by itself

[[noreturn]] void Fail(const std::string& promise) { throw std::logic_error(promise); }
void Expect(bool holds, const char* promise) {
  if (!holds) Fail(promise);
}

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

struct Range {
  int64_t first, count;
};

Range ShareOf(int64_t index, int64_t base, int64_t larger) {
  return {index * base + std::min(index, larger), base + (index < larger ? 1 : 0)};
}

// The shares follow each other, none is empty, they differ by at most one and end at `total`.
void ExpectShares(int64_t parts, int64_t base, int64_t larger, int64_t total) {
  Expect(parts >= 1 && base >= 1 && larger >= 0 && larger < parts, "every core has a share");
  const Range last = ShareOf(parts - 1, base, larger);
  Expect(last.first + last.count == total, "the shares cover everything once");
}

// `rows` of the other cores' sums.
void CheckOwners(const Problem& p, const GroupNormGradTiling& t, int64_t rows) {
  Expect(p.output_mask[1] && p.output_mask[2] && p.S > 1, "owners finish both sums a channel");
  Expect(t.own_n >= 1 && t.own_n < p.N, "of groups that others have a part of");
  Expect(t.tile_n == 1 && t.tile_g == 1, "all tiles are of one group");
  Expect(t.stat_elems >= t.own_n * (32 / SizeOf(p.stat_dtype)) && t.stat_entries >= t.own_n,
         "the statistics of all its n fit");
  Expect(t.finish_rows == rows && t.partial_elems == t.finish_rows * p.C &&
             t.partial_offset + 2 * t.partial_elems <= t.workspace_elems,
         "what the others leave follows without a gap");
}

void CheckTiles(const Problem& p, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const int64_t block = 32 / SizeOf(p.dtype);
  const int64_t grid = plan.blocks - (t.own_n > 0 ? p.G : 0);
  Expect(t.g_blocks >= 1 && grid % t.g_blocks == 0, "blocks are a grid of N by G");
  ExpectShares(grid / t.g_blocks, t.n_base, t.n_larger, p.N - t.own_n);
  ExpectShares(t.g_blocks, t.g_base, t.g_larger, p.G);
  const bool no_gaps = p.S > 1 && p.D() % 8 == 0;
  Expect(t.channel_pitch == (no_gaps ? p.D() : RoundUp(p.D(), block)),
         "one value a channel, to a block boundary");
  Expect(t.group_pitch == (p.S == 1 ? t.channel_pitch : p.D() * RoundUp(p.S, block)),
         "group pitch");
  Expect(t.tile_n >= 1 && t.tile_g >= 1 && t.unit_n >= 1 && t.unit_g >= 1, "tiles are not empty");
  Expect(t.slot_elems >= int64_t{t.tile_n} * t.tile_g * t.group_pitch, "a tile fits in its slot");
  if (t.own_n > 0) CheckOwners(p, t, grid / t.g_blocks);
  Expect(t.unit_n <= t.tile_n && t.unit_g <= t.tile_g, "a unit is a part of a tile");
  Expect(t.unit_n == 1 || t.unit_g == t.tile_g,
         "a unit that spans several n has all of the tile's groups");
  Expect(t.window_g % t.tile_g == 0 && (t.window_n % t.tile_n == 0 || t.window_n >= t.n_base),
         "windows are whole tiles");
  Expect(t.window_n >= t.tile_n || t.window_n >= t.n_base + (t.n_larger > 0),
         "a tile fits in its window");
  const int64_t stat_block = 32 / SizeOf(p.stat_dtype);
  // Dense, one value a block, or rows padded to blocks: whichever the core's share of G asks for.
  const int64_t dense = t.window_g >= p.G ? int64_t{t.window_n} * p.G : 0;
  const int64_t padded = t.window_g >= p.G ? 0 : t.window_n * RoundUp(t.window_g, stat_block);
  Expect(t.stat_elems >= std::max(dense, padded), "statistics fit in their buffer");
  Expect(t.stat_entries >= (t.window_g == 1 ? t.window_n : std::max(dense, padded)),
         "and their blocks in theirs");
  if (p.dtype != DType::kFloat32) {
    const int64_t unit = int64_t{t.unit_n} * t.unit_g * t.group_pitch;
    const bool whole = t.work_rows >= p.D() && t.work_elems >= unit;
    Expect(whole || (t.work_rows >= 1 && t.work_elems >= int64_t{t.work_rows} * t.row_pitch),
           "a unit, or some rows of it, fit in the work buffers");
    Expect(whole || t.unit_n * t.unit_g == 1, "only a single group is converted row by row");
    Expect(whole || t.row_pitch > 32 || t.work_rows % 8 == 0,
           "narrow rows are summed eight at a time");
  }
}

// The dealt pieces of a core in one round, numbered from the first of the round's groups.
struct Dealt {
  int64_t first_piece;  // of the round, among all pieces
  int64_t base, larger;
  int64_t position;  // of the core among the shares
  Range share;
};

int64_t GroupsBefore(const GroupNormGradTiling& t, const Plan& plan, int64_t round) {
  if (t.rounds == 1) return plan.blocks * t.whole_groups;
  return ShareOf(round, t.round_groups, t.larger_rounds).first;
}

Dealt DealtTo(const Plan& plan, int64_t core, int64_t round) {
  const GroupNormGradTiling& t = plan.tiling;
  const bool late = t.rounds > 1 && round >= t.larger_rounds;
  Dealt dealt{GroupsBefore(t, plan, round) * t.group_pieces,
              late ? t.late_per_core : t.per_core,
              late ? t.late_larger_cores : t.larger_cores,
              core,
              {0, 0}};
  const int64_t larger = std::min<int64_t>(round, t.larger_rounds);
  const int64_t before = larger * t.larger_cores + (round - larger) * t.late_larger_cores;
  if (t.rounds > 1) dealt.position = (core + plan.blocks * t.rounds - before) % plan.blocks;
  dealt.share = ShareOf(dealt.position, dealt.base, dealt.larger);
  return dealt;
}

// Walks the pieces of all cores as the kernel numbers them and marks each (row, part of a row);
// every one must be marked once.
void MarkPieces(const Problem& p, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const bool split = plan.schedule == Schedule::kSplitGroup;
  const int64_t rows = p.N * p.C;
  if (rows > kMaxMarks || rows * t.row_pieces > kMaxMarks) return;
  std::vector<int> marks(static_cast<size_t>(rows * t.row_pieces));
  const auto mark_piece = [&](int64_t piece) {
    const int64_t group = piece / t.group_pieces;
    const int64_t within = piece % t.group_pieces;
    if (t.row_pieces > 1) {
      ++marks.at(static_cast<size_t>(group * p.D() * t.row_pieces + within));
      return;
    }
    const int64_t first = within * t.piece_rows;
    for (int64_t row = first; row < std::min(p.D(), first + t.piece_rows); ++row) {
      ++marks.at(static_cast<size_t>(group * p.D() + row));
    }
  };
  for (int64_t core = 0; core < plan.blocks; ++core) {
    Range whole{core * t.whole_groups, t.whole_groups};
    if (!split) whole = ShareOf(core, t.per_core, t.larger_cores);
    for (int64_t i = 0; i < whole.count * t.group_pieces; ++i) {
      mark_piece(whole.first * t.group_pieces + i);
    }
    for (int64_t round = 0; split && round < t.rounds; ++round) {
      const Dealt dealt = DealtTo(plan, core, round);
      for (int64_t i = 0; i < dealt.share.count; ++i) {
        mark_piece(dealt.first_piece + dealt.share.first + i);
      }
    }
  }
  for (int mark : marks) Expect(mark == 1, "every element belongs to one piece of one core");
}

// Of 16-bit rows: the first levels of all trees, of both sums, and the level above them.
void CheckTrees(const Problem& p, const GroupNormGradTiling& t) {
  const bool parts = t.row_pieces > 1 || t.work_rows == 0;
  Expect(p.S == 1 || t.tree_lanes > 0 || !parts, "a row that is converted in parts has a tree");
  if (t.tree_lanes == 0) return;
  const int64_t blocks = t.tree_lanes / 8;
  int64_t above = blocks;  // blocks of the level above: by the largest step up to 8
  for (int64_t step = 8; step > 1 && above == blocks; --step) {
    if (blocks % step == 0) above = blocks / step;
  }
  Expect(2 * t.tree_rows * (blocks + above) * 8 + 64 <= t.scratch_elems, "trees fit in scratch");
  Expect(t.tree_rows >= (parts ? 1 : t.work_rows) && t.tree_rows <= 255, "trees of a unit's rows");
  if (!parts) return;
  const int64_t row = t.row_pieces > 1 ? t.piece_elems : t.row_pitch;
  Expect(std::min<int64_t>(row, t.work_elems) <= t.tree_lanes * 8,
         "a unit's first level fits in its tree");
  Expect(t.tree_rows == 1 && 2 * 2 * t.tree_lanes + 64 <= t.scratch_elems,
         "a tree of parts, and the sums of one more, fit in scratch");
  Expect(row <= t.work_elems || t.work_elems % 64 == 0, "units of a part are whole repeats");
}

void CheckRounds(const Problem& p, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const int64_t groups = p.N * p.G;
  Expect(plan.schedule == Schedule::kSplitGroup && p.output_mask[0] && t.whole_groups == 0,
         "rounds are of split groups");
  Expect(t.rounds <= group_norm_grad::kMaxRounds && t.rounds <= groups,
         "no more rounds than flags and groups");
  Expect(groups <= group_norm_grad::kStatisticsWindow && t.weight_pitch > 0,
         "statistics and weight are there as a whole");
  Expect(!t.halves && t.spare_slots == 0, "every slot has whole pieces");
  ExpectShares(t.rounds, t.round_groups, t.larger_rounds, groups);
  int64_t most = 0, least = groups * t.group_pieces;
  for (int64_t core = 0; core < plan.blocks; ++core) {
    int64_t count = 0;
    for (int64_t round = 0; round < t.rounds; ++round) {
      const Range share = DealtTo(plan, core, round).share;
      Expect(share.count <= t.lag, "a round is added up before its second pass");
      count += share.count;
    }
    most = std::max(most, count);
    least = std::min(least, count);
  }
  Expect(most - least <= 1, "the larger shares of the rounds go round the cores");
}

// What a core exchanges about its dealt groups.
void CheckExchange(const Plan& plan, int64_t core, int64_t round) {
  const GroupNormGradTiling& t = plan.tiling;
  const Dealt dealt = DealtTo(plan, core, round);
  const Range& share = dealt.share;
  if (share.count == 0) return;
  const int64_t first = share.first / t.group_pieces;
  const int64_t last = (share.first + share.count - 1) / t.group_pieces;
  int64_t sharing = 0;
  for (int64_t other = 0; other < plan.blocks; ++other) {
    const Range theirs = ShareOf(other, dealt.base, dealt.larger);
    sharing += theirs.first < (last + 1) * t.group_pieces &&
               theirs.first + theirs.count > first * t.group_pieces;
  }
  const int64_t room = t.rounds > 1 ? t.round_share : t.share_groups;
  Expect(sharing <= t.exchange_cores, "and for what the cores beside it leave");
  Expect(last - first < room && room >= 2 && t.share_groups >= room * t.rounds,
         "a core has room for its groups' sums");
}

void CheckPieces(const Problem& p, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const bool split = plan.schedule == Schedule::kSplitGroup;
  const int64_t groups = p.N * p.G;
  Expect(t.whole_groups >= 0 && t.whole_groups <= group_norm_grad::kStatisticsWindow / 2,
         "statistics of whole groups fit beside those of dealt ones");
  const int64_t dealt = groups - plan.blocks * t.whole_groups;
  if (t.rounds > 1) {
    CheckRounds(p, plan);
  } else if (t.whole_groups == 0) {
    ExpectShares(plan.blocks, t.per_core, t.larger_cores, split ? dealt * t.group_pieces : groups);
  } else {
    Expect(split && p.output_mask[0] && dealt > 0 && dealt < plan.blocks,
           "whole groups for as many rounds as there are");
    Expect(t.per_core * plan.blocks + t.larger_cores == dealt * t.group_pieces &&
               t.larger_cores < plan.blocks,
           "the pieces of the others are dealt");
    Expect(t.dealt_first_core >= 0 && t.dealt_first_core <= plan.blocks,
           "some cores may start with them");
  }
  Expect(!t.halves || (t.slots <= group_norm_grad::kMaxHalvedSlots && t.piece_rows > 1 &&
                       t.group_pieces >= t.slots && t.row_pitch > 32),
         "one half of a group's last piece is on its way at a time");
  Expect(t.spare_slots == 0 || (t.spare_slots == 1 && t.slots > 2 && t.group_pieces > t.slots &&
                                t.group_pieces % (t.slots - 1) == 0 && p.output_mask[0]),
         "the ring without its spare slot comes round with a group");
  const int64_t weight_block = 32 / SizeOf(p.weight_dtype);
  Expect(t.weight_pitch == 0 ||
             (t.weight_pitch >= p.D() && t.weight_pitch % weight_block == 0 &&
              t.weight_elems >= p.G * t.weight_pitch && t.vector_elems >= RoundUp(p.D(), 8)),
         "the whole weight fits, each group's on a block");
  Expect(t.weight_pitch > 0 || t.weight_elems == t.vector_elems, "or a visit's");
  Expect(t.weight_staging_elems >= std::max(t.weight_elems, 2 * t.vector_elems),
         "and so does it as it is loaded");
  Expect(t.row_pieces >= 1 && t.piece_rows >= 1, "pieces are not empty");
  if (t.row_pieces > 1) {
    Expect(t.piece_rows == 1 && t.group_pieces == p.D() * t.row_pieces && t.last_row == p.D() - 1,
           "parts of rows");
    Expect((t.row_pieces - 1) * t.piece_elems < p.S && t.row_pieces * t.piece_elems >= p.S,
           "the parts cover a row once");
    Expect(t.piece_elems * SizeOf(p.dtype) % 512 == 0,
           "parts start on 512 bytes where the row does");
    Expect(t.slot_elems >= t.piece_elems, "a part fits in its slot");
  } else {
    Expect(t.group_pieces == (p.D() + t.piece_rows - 1) / t.piece_rows, "pieces of a group");
    Expect(t.last_row == (t.group_pieces - 1) * t.piece_rows && t.last_row < p.D(), "last piece");
    const int64_t block = 32 / SizeOf(p.dtype);
    const int64_t elems =
        p.S == 1 ? RoundUp(t.piece_rows, block) : t.piece_rows * RoundUp(p.S, block);
    Expect(t.slot_elems >= elems, "a piece fits in its slot");
    const bool narrow = p.S == 1 || t.row_pitch <= 32;
    Expect(!narrow || t.group_pieces == 1 || t.piece_rows % 8 == 0,
           "narrow rows go eight at a time");
    Expect(p.S == 1 || t.row_pitch == RoundUp(p.S, block), "row pitch");
  }
  MarkPieces(p, plan);
  Expect(t.vector_elems >= (p.S == 1 ? t.slot_elems : t.piece_rows),
         "a piece's sums fit in a visit");
  if (p.dtype != DType::kFloat32) {
    Expect(t.work_elems >= std::min<int64_t>(t.slot_elems, 1024), "work buffers");
    CheckTrees(p, t);
    Expect(p.S > 1 || t.work_elems >= t.slot_elems, "a run of channels is converted at once");
    Expect(t.row_pitch == 0 || t.row_pitch > 32 || t.work_rows % 8 == 0 ||
               t.work_elems >= t.slot_elems,
           "narrow rows go eight at a time");
  }
  if (split && p.output_mask[0]) {
    for (int64_t core = 0; core < plan.blocks; ++core) {
      for (int64_t round = 0; round < t.rounds; ++round) CheckExchange(plan, core, round);
    }
    Expect(t.partial_offset >= plan.blocks * t.rounds * 2 * group_norm_grad::kGroupSums,
           "and for their exchange");
  }
}

void CheckFinish(const Problem& p, const Platform& platform, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const int64_t values = t.finish_rows * p.C * t.row_pieces;
  Expect(plan.schedule == Schedule::kZeroFill ||
             (t.partial_elems >= values &&
              t.partial_offset + 2 * t.partial_elems <= t.workspace_elems),
         "the partial sums fit in the workspace");
  Expect(t.partial_offset % 128 == 0 && t.partial_elems % 128 == 0, "and start on 512 bytes");
  Expect(t.finish_cores >= 1 && t.finish_cores <= plan.blocks, "second stage's cores");
  Expect(t.finish_channels % 16 == 0, "the cores' runs of channels end on blocks");
  Expect(int64_t{t.finish_cores} * t.finish_channels >= p.C || t.finish_cores == plan.blocks,
         "all cores work when the channels ask for it");
  const int64_t rows = t.row_pieces > 1 ? t.finish_tile_pieces : t.finish_tile_rows;
  Expect(rows >= 1 && t.finish_tile_elems >= t.finish_channels * rows,
         "a tile of partial sums fits");
  Expect(t.row_pieces == 1 || t.finish_tile_pieces % 8 == 0, "tiles of pieces end on blocks");
  const int64_t outputs = (t.want_bias ? 1 : 0) + (t.want_weight ? 1 : 0);
  Expect(outputs * (t.finish_tile_elems + 2 * t.finish_channels) * 4 < t.ub_bytes,
         "in the unified buffer");
}

void Check(const Problem& p, const Platform& platform, const Plan& plan) {
  const GroupNormGradTiling& t = plan.tiling;
  const bool sums = p.output_mask[1] || p.output_mask[2];
  const bool empty = p.N == 0 || p.C == 0 || p.S == 0;
  const bool nothing = empty ? p.C == 0 || !sums : !sums && !p.output_mask[0];
  Expect(nothing == (plan.blocks == 0), "a launch when and only when there is something to write");
  if (nothing) return;
  Expect(plan.blocks >= 1 && plan.blocks <= platform.vector_cores, "no more blocks than cores");
  Expect(plan.workspace_bytes >= 32 && plan.workspace_bytes == t.workspace_elems * 4, "workspace");
  Expect(t.ub_bytes > 0 && t.ub_bytes <= platform.ub_bytes, "the unified buffer holds it");
  Expect(plan.schedule == t.schedule, "one schedule");
  Expect(t.N == p.N && t.C == p.C && t.S == p.S && t.G == p.G && t.D == p.D(),
         "the problem's sizes");
  Expect(empty == (plan.schedule == Schedule::kZeroFill), "zeros when the sums run over nothing");
  if (!empty) {
    Expect(t.slots >= 2 && t.slots <= group_norm_grad::kMaxSlots, "two slots or more");
    Expect(t.slot_elems * SizeOf(p.dtype) % 32 == 0, "slots start on blocks");
    Expect(t.scratch_elems >= 2048, "scratch for the longest fold");
    if (plan.schedule == Schedule::kGroupTiles) {
      CheckTiles(p, plan);
    } else {
      CheckPieces(p, plan);
    }
  }
  if (empty || (sums && !t.sums_are_final)) CheckFinish(p, platform, plan);
  if (t.sums_are_final) {
    Expect(plan.schedule == Schedule::kGroupTiles ? plan.blocks == t.g_blocks || t.own_n > 0
                                                  : p.N == 1 && t.row_pieces == 1,
           "sums are final where one core has them whole");
  }
}

class RandomProblem {
 public:
  explicit RandomProblem(uint64_t seed) : engine_(seed) {}

  Problem Next() {
    Problem p;
    p.N = Size(1 << Below(12));
    p.S = Below(4) == 0 ? 1 : Size(int64_t{1} << Below(26));
    p.G = Size(1 << Below(8));
    p.C = p.G * Size(1 << Below(16));
    if (Below(20) == 0) (Below(2) ? p.N : p.S) = 0;
    if (Below(200) == 0) p.C = 0;
    if (Below(50) == 0) p.S = int64_t{1} << (26 + Below(14));
    while (group_norm_grad::CheckedMul(p.N * std::max<int64_t>(p.S, 1), p.C) < 0) p.S /= 2;
    p.dtype = static_cast<DType>(Below(3));
    p.stat_dtype = Below(2) ? p.dtype : DType::kFloat32;
    p.weight_dtype = Below(2) ? p.dtype : DType::kFloat32;
    p.has_weight = Below(4) != 0;
    for (bool& wanted : p.output_mask) wanted = Below(4) != 0;
    return p;
  }

  Platform NextPlatform() {
    const std::vector<std::string_view> names = group_norm_grad::PlatformNames();
    Platform platform = *group_norm_grad::FindPlatform(
        names[static_cast<size_t>(Below(static_cast<int64_t>(names.size())))]);
    if (Below(4) == 0) platform.vector_cores = static_cast<int32_t>(1 + Below(64));
    return platform;
  }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  int64_t Size(int64_t most) { return 1 + Below(most); }

  std::mt19937_64 engine_;
};

}  // namespace

int main(int argc, char** argv) {
  const int64_t count = argc > 1 ? std::atoll(argv[1]) : 20000;
  RandomProblem random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  std::map<std::string, int64_t> schedules;
  for (int64_t i = 0; i < count; ++i) {
    const Problem p = random.Next();
    const Platform platform = random.NextPlatform();
    try {
      const Plan plan = group_norm_grad::MakePlan(p, platform);
      ++schedules[plan.tiling.whole_groups > 0 ? "whole and dealt groups"
                  : plan.tiling.rounds > 1     ? "groups in rounds"
                  : plan.tiling.own_n > 0      ? "tiles with owners"
                                               : Name(plan.schedule)];
      Check(p, platform, plan);
    } catch (const std::exception& error) {
      std::printf("problem %" PRId64 ": N=%" PRId64 " C=%" PRId64 " S=%" PRId64 " G=%" PRId64
                  " %s stat %s weight %s mask %d%d%d on %s with %d cores: %s\n",
                  i, p.N, p.C, p.S, p.G, Name(p.dtype), Name(p.stat_dtype), Name(p.weight_dtype),
                  p.output_mask[0], p.output_mask[1], p.output_mask[2], platform.soc,
                  platform.vector_cores, error.what());
      return 1;
    }
  }
  std::printf("%" PRId64 " problems", count);
  for (const auto& [name, times] : schedules) std::printf(", %s: %" PRId64, name.c_str(), times);
  std::printf("\n");
  return 0;
}
