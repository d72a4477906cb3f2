// Candidates for Schedule::kStreamedGroup and kSplitGroup: how groups are cut into pieces and the
// pieces dealt to the cores. One of them fits every problem.
#include <stdexcept>

#include "plan_parts.h"

namespace group_norm_grad::plan_internal {
namespace {

// The DMA rate is flat from 16 KiB on, and so is the mean to be, small ones included; 16-bit data
// leaves the room to its float32 copies.
constexpr int64_t kMinWidePieceBytes = 24 * 1024;
constexpr int64_t kMinNarrowPieceBytes = 18 * 1024;
constexpr int64_t kMaxPieceBytes = 40 * 1024;
constexpr int64_t kShortHalfBytes = 12 * 1024;  // so short or shorter ones cost the mean too much
constexpr int64_t kBurstBytes = 512;            // pieces of a row start on these where the row does
constexpr int64_t kRowSteps = 32;               // numbers of rows that are tried
constexpr int64_t kPartStepBytes = 1024;        // between the lengths that are tried
// float32 copies of 16-bit data, two buffers of them: long instructions pay their start once, short
// buffers leave the ring more slots.
constexpr int64_t kWorkElems[] = {8192, 7168, 6144, 5120, 4096, 3072, 2048};
constexpr int64_t kNarrowScratch = 3072;  // 16-bit data: the steps of two trees of a unit
constexpr int64_t kTreeScratch = 2048;    // beside the trees of rows, if these take less
constexpr int64_t kMaxTreeRows = 255;     // that one instruction finishes
constexpr int64_t kWideScratch = 5376;    // float32: beside them the products of a row of 4096
constexpr int64_t kMaxVectorElems = 512;
constexpr int64_t kMaxShareGroups = 32;  // whose sums a core keeps between the passes
constexpr int64_t kMaxWholeGroups = kStatisticsWindow / 2;  // before dealt ones
constexpr int64_t kLeastLag = 2;  // pieces between a round's sums and its second pass
constexpr int64_t kLagSteps = 8;  // of a round's pieces, for each of which it is one more
constexpr int64_t kMaxRoundPieces = 1 << 30;  // of all groups: the lag is counted in 32 bits
constexpr int64_t kMaxLanePiece = 2048;       // channels of a piece when S is 1
constexpr int64_t kMaxWholeWeight = 1024;     // values, each group's on a block

int64_t UbBytes(const Sizes& sizes, const GroupNormGradTiling& tiling) {
  const int64_t values = tiling.vector_elems;
  UbCount count;
  count.TakeShared(tiling, sizes.element_bytes).Take(2 * values, kFloatBytes);
  count.Take((tiling.share_groups + 1) * kGroupSums, kFloatBytes);
  count.Take(kGroupSums, kFloatBytes)
      .Take(tiling.exchange_cores * 2 * kGroupSums, kFloatBytes)
      .Take(2 * 64, kFloatBytes);
  if (!tiling.weight_is_float) count.Take(tiling.weight_staging_elems, sizes.element_bytes);
  count.Take(tiling.weight_elems, kFloatBytes).Take(values, kFloatBytes);
  if (sizes.problem.S > 1) count.Take(values * 8, kFloatBytes);
  count.Take(2 * kStatisticsWindow, kFloatBytes);
  for (int32_t i = 0; i < 4; ++i) count.Take(kStatisticsWindow * 8, kFloatBytes);
  if (!tiling.stat_is_float) count.Take(2 * kStatisticsWindow, sizes.element_bytes);
  return count.bytes();
}

// Groups that a core has pieces of when those of `groups` groups are dealt out; 2 or more.
int64_t MostGroups(const Sizes& sizes, const GroupNormGradTiling& tiling, int64_t groups) {
  const int64_t pieces = SaturatingMul(groups, tiling.group_pieces);
  const int64_t load = CeilDiv(pieces, sizes.platform.vector_cores);
  return std::min(kMaxShareGroups + 1, std::max<int64_t>(2, (load - 1) / tiling.group_pieces + 2));
}

// Cores from the first that shares a core's first group to the last that shares its last group.
int64_t MostExchangingCores(const Sizes& sizes, const GroupNormGradTiling& tiling, int64_t groups) {
  const int64_t cores = sizes.platform.vector_cores;
  const int64_t pieces = SaturatingMul(groups, tiling.group_pieces);
  const int64_t least = std::max<int64_t>(1, pieces / cores);
  return std::min(cores, 2 * ((tiling.group_pieces - 1) / least + 2));
}

// The float32 copies: of equal numbers of a piece's rows, or of a part of a row.
void SetWork(const Sizes& sizes, int64_t row_elems, int64_t most, GroupNormGradTiling& tiling) {
  const int64_t slot = tiling.slot_elems;
  const int64_t all = slot / row_elems;
  int64_t rows = std::min(all, most / row_elems);
  if (rows > 1) rows = CeilDiv(all, CeilDiv(all, rows));
  if (row_elems <= kNarrowLanes && rows < all) rows = rows / 8 * 8;
  const int64_t elems = sizes.problem.S == 1 ? slot : rows > 0 ? rows * row_elems : most;
  tiling.work_elems = static_cast<int32_t>(std::min(elems, slot));
  tiling.work_rows = static_cast<int32_t>(rows);
}

// Whether pieces of whole rows may go in halves. A group's last piece is on its way once at a time
// if the group takes up the ring.
bool Halves(const Sizes& sizes, const GroupNormGradTiling& tiling) {
  const int64_t row_bytes = tiling.row_pitch * sizes.element_bytes;
  return tiling.slots <= kMaxHalvedSlots && tiling.group_pieces >= tiling.slots &&
         tiling.row_pitch > kNarrowLanes && tiling.piece_rows / 2 * row_bytes > kShortHalfBytes;
}

// StepBlocks and HasTree of the kernel.
int64_t StepBlocks(int64_t blocks) {
  int64_t step = std::min<int64_t>(blocks, 8);
  while (blocks % step != 0) --step;
  return step;
}

bool HasTree(int64_t blocks) {
  for (int64_t step = 0; blocks > 8; blocks /= step) {
    step = StepBlocks(blocks);
    if (step < 3) return false;
  }
  return true;
}

// Whether the float32 copies hold a part of a row.
bool HasParts(const GroupNormGradTiling& tiling) {
  return tiling.row_pieces > 1 || tiling.work_rows == 0;
}

// 16-bit data: the trees of rows, or of what parts of a row add up to.
void SetTrees(const Sizes& sizes, GroupNormGradTiling& tiling) {
  tiling.tree_lanes = 0;
  if (sizes.problem.S == 1) return;
  if (HasParts(tiling)) {
    int64_t blocks = RoundUp(CeilDiv(tiling.work_elems, 64), 8);
    while (!HasTree(blocks)) blocks += 8;
    tiling.tree_lanes = static_cast<int32_t>(blocks * 8);
    return;
  }
  const int64_t blocks = tiling.row_pitch / 8;
  const int64_t segments = blocks / StepBlocks(blocks);
  const bool folds = tiling.piece_rows >= 16 && segments <= 4;
  if (blocks > 8 && HasTree(blocks) && !folds) {
    tiling.tree_lanes = static_cast<int32_t>(segments * 8);
  }
}

// The scratch: for the trees of `rows` rows, if there are any, and behind them for their next steps
// or for the sums of a part.
void SetScratch(int64_t rows, GroupNormGradTiling& tiling) {
  int64_t blocks = tiling.tree_lanes / 8;
  tiling.tree_rows = static_cast<int32_t>(rows);
  tiling.scratch_elems = kNarrowScratch;
  if (blocks == 0) return;
  const int64_t step = StepBlocks(blocks);
  const int64_t trees = 2 * rows * blocks * 8 + (step < 4 ? 128 : 64);
  blocks /= step;
  int64_t behind = 2 * rows * blocks * 8;
  if (blocks > 8 || (blocks > 1 && rows >= 16)) {
    behind += 2 * rows * (blocks / StepBlocks(blocks)) * 8 + 64;
  }
  if (HasParts(tiling)) behind = std::max<int64_t>(behind, 2 * tiling.tree_lanes);
  tiling.scratch_elems = static_cast<int32_t>(std::max(kTreeScratch, trees + behind));
}

// Trees of a whole visit if they fit, or of fewer rows, down to those of the float32 copies.
void FitTrees(const Sizes& sizes, GroupNormGradTiling& tiling) {
  const int64_t least = HasParts(tiling) ? 1 : tiling.work_rows;
  int64_t rows = std::min<int64_t>({tiling.D, tiling.vector_elems, kMaxTreeRows}) / least * least;
  if (HasParts(tiling)) rows = 1;
  for (SetScratch(rows, tiling); rows > least && UbBytes(sizes, tiling) > sizes.platform.ub_bytes;
       SetScratch(rows, tiling)) {
    rows -= least;
  }
}

// The deepest ring that fits; false when not even two slots do. In float32 the scratch gets what it
// leaves, up to the products and trees of a piece: fewer and longer instructions.
bool FitRing(const Sizes& sizes, GroupNormGradTiling& tiling) {
  for (tiling.slots = kMaxSlots; tiling.slots >= 2; --tiling.slots) {
    if (!sizes.IsFloat()) FitTrees(sizes, tiling);
    const int64_t room = sizes.platform.ub_bytes - UbBytes(sizes, tiling);
    if (room < 0) continue;
    if (sizes.IsFloat()) {
      const int64_t more = std::min(room / kFloatBytes, int64_t{tiling.slot_elems});
      tiling.scratch_elems += static_cast<int32_t>(more / 64 * 64);
    }
    tiling.ub_bytes = static_cast<int32_t>(UbBytes(sizes, tiling));
    tiling.halves = Halves(sizes, tiling);
    return true;
  }
  return false;
}

// Sets the slots' length, the scratch and the vectors for pieces of `piece_values` rows, or of a
// part of a row.
void SetPieces(const Sizes& sizes, int64_t piece_values, int64_t slot_elems,
               GroupNormGradTiling& tiling) {
  tiling.slot_elems = static_cast<int32_t>(slot_elems);
  // A group's channels, and those of the groups that a core has beside it.
  const int64_t share = CeilDiv(sizes.problem.N * sizes.problem.C, sizes.platform.vector_cores);
  const int64_t of_group =
      RoundUp(std::max(tiling.D + std::min(tiling.D, share), tiling.row_pieces), 16);
  // All groups may be dealt out, or those that are left when every core has as many whole ones.
  const int64_t left = sizes.groups % sizes.platform.vector_cores;
  tiling.share_groups = static_cast<int32_t>(MostGroups(sizes, tiling, sizes.groups));
  tiling.exchange_cores = static_cast<int32_t>(std::max(
      MostExchangingCores(sizes, tiling, sizes.groups), MostExchangingCores(sizes, tiling, left)));
  tiling.vector_elems = static_cast<int32_t>(
      std::max(std::min(of_group, kMaxVectorElems), RoundUp(piece_values, 16)));
  const int64_t weight_pitch = RoundUp(tiling.D, kBlockBytes / SizeOf(sizes.problem.weight_dtype));
  const bool whole = weight_pitch <= tiling.vector_elems &&
                     SaturatingMul(weight_pitch, tiling.G) <= kMaxWholeWeight;
  tiling.weight_pitch = static_cast<int32_t>(whole ? weight_pitch : 0);
  tiling.weight_elems = static_cast<int32_t>(whole ? weight_pitch * tiling.G : tiling.vector_elems);
  tiling.weight_staging_elems = std::max(2 * tiling.vector_elems, tiling.weight_elems);
  tiling.scratch_elems = kWideScratch;
}

// What the vector unit takes for 16-bit data in both passes, as bytes: its repeats, and what the
// instructions take to start.
double VectorBytes(double piece_bytes, const GroupNormGradTiling& tiling) {
  const double repeats = piece_bytes / 128.0 * CostRates::kNarrowRepeats;
  const int64_t row = std::max(tiling.row_pieces > 1 ? tiling.piece_elems : tiling.row_pitch, 1);
  const int64_t units = tiling.work_rows > 0 ? CeilDiv(tiling.piece_rows, tiling.work_rows)
                                             : tiling.piece_rows * CeilDiv(row, tiling.work_elems);
  const double finishes =
      tiling.row_pieces > 1
          ? 1.0 / static_cast<double>(std::min<int64_t>(tiling.row_pieces, kMostUnits))
          : static_cast<double>(tiling.piece_rows) / tiling.tree_rows;
  const double starts =
      tiling.tree_lanes > 0
          ? static_cast<double>(units) * CostRates::kUnitStarts + finishes * CostRates::kTreeStarts
          : static_cast<double>(units) * (CostRates::kUnitStarts + CostRates::kTreeStarts);
  return (repeats + starts) * CostRates::kCycleBytes;
}

// A core's time as bytes: those of its pieces, read once, read again from L2 where no slot could
// keep them, and written; or the vector unit's, where it is slower. Between the passes of a split
// group nothing of another group hides what the slower one waits for.
double CostOfWalk(const Sizes& sizes, const GroupNormGradTiling& tiling, double walks,
                  double pieces, double piece_bytes) {
  const double reads = static_cast<double>(sizes.reads);
  const double writes = static_cast<double>(sizes.writes);
  const double again = sizes.WantInput() ? std::max(0.0, pieces - tiling.slots) : 0;
  const double vector = sizes.IsFloat() ? 0 : pieces * VectorBytes(piece_bytes, tiling);
  const double first = piece_bytes * pieces * reads;
  const double second = piece_bytes * (again * reads * CostRates::kL2ReadWeight + pieces * writes);
  double bytes = std::max(first + second, vector);
  if (tiling.schedule == Schedule::kSplitGroup) {
    bytes = std::max(first, CostRates::kFirstPassShare * vector) +
            std::max(second, (1 - CostRates::kFirstPassShare) * vector);
  }
  if (tiling.slots == 2) bytes *= 1 + CostRates::kShallowRing;
  bytes += CostRates::kBareVectorShare * vector;
  const double moves = pieces * (reads + writes) + again * reads + 8;
  return walks * (bytes + CostRates::kDmaBytes * moves);
}

void Keep(std::optional<Candidate>& best, const Candidate& candidate) {
  if (!best || candidate.cost < best->cost) best = candidate;
}

// A spare slot keeps the load pipe busy while a group turns to its second pass, for one more piece
// that comes again from L2. The others come round with the group's pieces, so that the next group's
// follow in the ring. 16-bit data waits for the vector unit, not for loads.
bool WantsSpareSlot(const Sizes& sizes, const GroupNormGradTiling& cut) {
  return sizes.IsFloat() && cut.slots > 2 && cut.group_pieces > cut.slots &&
         cut.group_pieces % (cut.slots - 1) == 0;
}

// A core's time in ns for the pieces that are dealt to it, with one exchange or in rounds.
struct DealtTimes {
  double one_exchange;
  double in_rounds;
};

DealtTimes TimesOf(const Sizes& sizes, const GroupNormGradTiling& tiling, double pieces,
                   double piece_bytes) {
  const Platform& platform = sizes.platform;
  const double cores = platform.vector_cores;
  const double reads = static_cast<double>(sizes.reads) * piece_bytes;
  const double hbm =
      std::min(CostRates::kCoreHbmRate, platform.hbm_gb_per_s * CostRates::kHbmEfficiency / cores);
  const double l2 = std::min(CostRates::kCoreL2Rate, platform.l2_gb_per_s / cores);
  const double write = piece_bytes / std::min(CostRates::kCoreWriteRate, l2);
  const double vector = sizes.IsFloat() ? 0
                                        : VectorBytes(piece_bytes, tiling) /
                                              CostRates::kCycleBytes * 1000 / platform.clock_mhz;
  const double second_vector = (1 - CostRates::kFirstPassShare) * vector;
  const double data = static_cast<double>(sizes.groups) * static_cast<double>(sizes.group_elems) *
                      static_cast<double>(sizes.reads * sizes.element_bytes);
  const double again = reads / (data > static_cast<double>(platform.l2_bytes) ? hbm : l2) *
                       (1 - std::min(1.0, tiling.slots / pieces));
  const double second = tiling.slots == 2 ? again + write : std::max(again, write);
  const double one_exchange =
      pieces * (std::max(reads / hbm, vector - second_vector) + std::max(second, second_vector)) +
      CostRates::kSyncNs;
  const double loads = CostRates::kRoundsLoss * (reads / CostRates::kCoreHbmRate + reads / l2);
  const double behind = tiling.lag + CostRates::kMeanExtraLag;
  const double waits = tiling.slots == 2 ? CostRates::kShallowRounds : 1;
  // Sums alone at first, both passes, and the second alone at last.
  const double in_rounds =
      std::min(behind, pieces) * std::max(reads / hbm, vector - second_vector) +
      std::max(pieces - behind, 0.0) * std::max({reads / hbm, loads, waits * vector}) +
      behind * std::max({reads / l2, write, second_vector}) + tiling.rounds * CostRates::kRoundNs;
  return {one_exchange, in_rounds};
}

// All groups in rounds, each dealt to all cores, instead of all at once as in `split`. Statistics
// of all groups and the whole weight must have room, as the two passes are in different groups.
void ConsiderRounds(const Sizes& sizes, const Candidate& split, double piece_bytes,
                    std::optional<Candidate>& best) {
  const int64_t cores = sizes.platform.vector_cores;
  const GroupNormGradTiling& cut = split.tiling;
  const int64_t pieces = SaturatingMul(sizes.groups, cut.group_pieces);
  const bool in_place = cut.weight_pitch > 0 && sizes.groups <= kStatisticsWindow;
  if (!sizes.WantInput() || !in_place || pieces > kMaxRoundPieces) return;
  const int64_t most_rounds = std::min<int64_t>(kMaxRounds, sizes.groups);
  for (int64_t rounds = 2; rounds <= most_rounds; ++rounds) {
    Candidate candidate = split;
    GroupNormGradTiling& tiling = candidate.tiling;
    candidate.blocks = static_cast<int32_t>(cores);
    tiling.rounds = static_cast<int32_t>(rounds);
    tiling.round_groups = sizes.groups / rounds;
    tiling.larger_rounds = static_cast<int32_t>(sizes.groups % rounds);
    const int64_t late = tiling.round_groups * cut.group_pieces;
    const int64_t most = tiling.larger_rounds > 0 ? late + cut.group_pieces : late;
    tiling.per_core = most / cores;
    tiling.larger_cores = most % cores;
    tiling.late_per_core = late / cores;
    tiling.late_larger_cores = late % cores;
    const int64_t load = CeilDiv(most, cores);
    tiling.lag = static_cast<int32_t>(load + kLeastLag + load / kLagSteps);
    tiling.round_share = static_cast<int32_t>((load - 1) / cut.group_pieces + 2);
    tiling.share_groups = static_cast<int32_t>(rounds * tiling.round_share);
    tiling.exchange_cores = static_cast<int32_t>(
        std::min(cores, 2 * ((cut.group_pieces - 1) / std::max<int64_t>(1, late / cores) + 2)));
    if (sizes.IsFloat()) tiling.scratch_elems = static_cast<int32_t>(kWideScratch);
    if (!FitRing(sizes, tiling)) continue;
    tiling.halves = false;
    const DealtTimes times =
        TimesOf(sizes, tiling, static_cast<double>(CeilDiv(pieces, cores)), piece_bytes);
    candidate.cost *= times.in_rounds / times.one_exchange;
    Keep(best, candidate);
  }
}

// The ways to deal out the pieces that the tiling describes.
void ConsiderCut(const Sizes& sizes, const GroupNormGradTiling& cut, double mean_piece_elems,
                 std::optional<Candidate>& best) {
  const int64_t cores = sizes.platform.vector_cores;
  const double piece_bytes = mean_piece_elems * static_cast<double>(sizes.element_bytes);
  const double sums = sizes.WantSums() ? CostRates::kSyncBytes : 0;
  if (sizes.WantInput()) {
    Candidate streamed{0, 0, cut};
    const int64_t load = CeilDiv(sizes.groups, cores);
    streamed.blocks = static_cast<int32_t>(CeilDiv(sizes.groups, load));
    streamed.tiling.schedule = Schedule::kStreamedGroup;
    streamed.tiling.spare_slots = WantsSpareSlot(sizes, cut) ? 1 : 0;
    streamed.tiling.per_core = sizes.groups / streamed.blocks;
    streamed.tiling.larger_cores = sizes.groups % streamed.blocks;
    streamed.cost = CostOfWalk(sizes, streamed.tiling, static_cast<double>(load),
                               static_cast<double>(cut.group_pieces), piece_bytes) +
                    sums;
    Keep(best, streamed);
  }
  const int64_t pieces = SaturatingMul(sizes.groups, cut.group_pieces);
  const int64_t load = CeilDiv(pieces, cores);
  // More groups than that a core can as well take one by one.
  if (sizes.WantInput() && cut.share_groups > kMaxShareGroups) return;
  Candidate split{0, static_cast<int32_t>(CeilDiv(pieces, load)), cut};
  split.tiling.schedule = Schedule::kSplitGroup;
  split.tiling.per_core = pieces / split.blocks;
  split.tiling.larger_cores = pieces % split.blocks;
  split.cost = CostOfWalk(sizes, split.tiling, 1, static_cast<double>(load), piece_bytes) +
               std::max(sums, sizes.WantInput() ? CostRates::kSyncBytes : 0);
  if (sizes.WantInput() && load > cut.slots && cut.group_pieces <= cut.slots) {
    split.cost *= 1 + CostRates::kRereadRisk;
  }
  Keep(best, split);
  ConsiderRounds(sizes, split, piece_bytes, best);
  const int64_t whole = sizes.groups / cores;
  const int64_t left = (sizes.groups - whole * cores) * cut.group_pieces;
  if (!sizes.WantInput() || whole == 0 || left == 0 || whole > kMaxWholeGroups) return;
  Candidate mixed = split;
  mixed.blocks = static_cast<int32_t>(cores);
  mixed.tiling.whole_groups = whole;
  mixed.tiling.spare_slots = WantsSpareSlot(sizes, cut) ? 1 : 0;
  mixed.tiling.per_core = left / cores;
  mixed.tiling.larger_cores = left % cores;
  // Half of the cores start with their dealt pieces, or fewer where reading these twice is much
  // beside all else; not the first cores, which have the larger shares.
  const int64_t dealers = std::min(left, cores);
  const int64_t half = whole > 1 ? cores / 2 : cores * 3 / 7;
  mixed.tiling.dealt_first_core = static_cast<int32_t>(dealers - std::min(half, dealers * 2 / 3));
  GroupNormGradTiling streamed = cut;
  streamed.schedule = Schedule::kStreamedGroup;
  mixed.cost =
      CostOfWalk(sizes, streamed, static_cast<double>(whole), static_cast<double>(cut.group_pieces),
                 piece_bytes) +
      CostOfWalk(sizes, split.tiling, 1, static_cast<double>(CeilDiv(left, cores)), piece_bytes) +
      CostRates::kSyncBytes;
  Keep(best, mixed);
}

// Pieces of rows of row_elems, with every length of the float32 copies that leaves room for a ring.
void Consider(const Sizes& sizes, GroupNormGradTiling tiling, int64_t row_elems,
              double mean_piece_elems, std::optional<Candidate>& best) {
  if (sizes.IsFloat()) {
    if (FitRing(sizes, tiling)) ConsiderCut(sizes, tiling, mean_piece_elems, best);
    return;
  }
  int32_t last = 0;
  for (int64_t work : kWorkElems) {
    SetWork(sizes, row_elems, work, tiling);
    if (tiling.work_elems == last) continue;
    last = tiling.work_elems;
    SetTrees(sizes, tiling);
    if (FitRing(sizes, tiling)) ConsiderCut(sizes, tiling, mean_piece_elems, best);
  }
}

// S = 1: runs of channels.
void ConsiderLanes(const Sizes& sizes, GroupNormGradTiling tiling, std::optional<Candidate>& best) {
  const int64_t D = tiling.D;
  const int64_t parts = CeilDiv(D, kMaxLanePiece);
  const int64_t rows = RoundUp(CeilDiv(D, parts), 16);
  tiling.piece_rows = static_cast<int32_t>(rows);
  tiling.group_pieces = CeilDiv(D, rows);
  tiling.last_row = (tiling.group_pieces - 1) * rows;
  SetPieces(sizes, rows, rows, tiling);
  Consider(sizes, tiling, rows, static_cast<double>(D) / static_cast<double>(tiling.group_pieces),
           best);
}

void ConsiderRows(const Sizes& sizes, GroupNormGradTiling tiling, int64_t rows,
                  std::optional<Candidate>& best) {
  const int64_t D = tiling.D;
  tiling.piece_rows = static_cast<int32_t>(rows);
  tiling.group_pieces = CeilDiv(D, rows);
  tiling.last_row = (tiling.group_pieces - 1) * rows;
  SetPieces(sizes, rows, rows * tiling.row_pitch, tiling);
  const double elems = static_cast<double>(D) * static_cast<double>(sizes.problem.S);
  Consider(sizes, tiling, tiling.row_pitch, elems / static_cast<double>(tiling.group_pieces), best);
}

void ConsiderParts(const Sizes& sizes, GroupNormGradTiling tiling, int64_t parts,
                   std::optional<Candidate>& best) {
  const int64_t S = sizes.problem.S;
  const int64_t elems = RoundUp(CeilDiv(S, parts), kBurstBytes / sizes.element_bytes);
  tiling.row_pitch = 0;
  tiling.piece_rows = 1;
  tiling.piece_elems = static_cast<int32_t>(elems);
  tiling.row_pieces = CeilDiv(S, elems);
  tiling.group_pieces = SaturatingMul(tiling.D, tiling.row_pieces);
  tiling.last_row = tiling.D - 1;
  if (tiling.row_pieces == 1) return;  // ConsiderRows has it
  SetPieces(sizes, 1, elems, tiling);
  Consider(sizes, tiling, elems, static_cast<double>(S) / static_cast<double>(tiling.row_pieces),
           best);
}

// Some cut fits every problem on every platform of the table; anything else is a defect of the
// plan.
const Candidate& Found(const std::optional<Candidate>& best) {
  if (!best)
    throw std::logic_error("The plan found no cut into pieces that fits the unified buffer");
  return *best;
}

}  // namespace

Candidate BestPieces(const Sizes& sizes) {
  const int64_t S = sizes.problem.S;
  const int64_t D = sizes.problem.D();
  GroupNormGradTiling tiling = CommonTiling(sizes);
  std::optional<Candidate> best;
  if (S == 1) {
    ConsiderLanes(sizes, tiling, best);
    return Found(best);
  }
  const int64_t max_elems = kMaxPieceBytes / sizes.element_bytes;
  const int64_t min_elems =
      (sizes.IsFloat() ? kMinWidePieceBytes : kMinNarrowPieceBytes) / sizes.element_bytes;
  const int64_t pitch = S > max_elems ? max_elems + 1 : RoundUp(S, sizes.block);
  if (pitch <= max_elems) {
    tiling.row_pitch = static_cast<int32_t>(pitch);
    const int64_t most = std::min({max_elems / pitch, D, kMaxVectorElems});
    const int64_t least = std::min(most, CeilDiv(min_elems, pitch));
    const int64_t step = std::max<int64_t>(1, (most - least) / kRowSteps);
    int64_t last = 0;
    for (int64_t wanted = most; wanted >= (best ? least : 1); wanted -= step) {
      // Equal pieces, so that the last is not a short one.
      int64_t rows = CeilDiv(D, CeilDiv(D, wanted));
      if (pitch <= kNarrowLanes && rows < D) rows = std::max<int64_t>(8, wanted / 8 * 8);
      if (rows == last || (best && D * pitch / CeilDiv(D, rows) < 15 * min_elems / 16)) continue;
      last = rows;
      ConsiderRows(sizes, tiling, rows, best);
    }
  }
  int64_t last_parts = 1;
  for (int64_t elems = max_elems; elems >= min_elems;
       elems -= kPartStepBytes / sizes.element_bytes) {
    const int64_t parts = CeilDiv(S, elems);
    // Equal parts may come out shorter than asked for; then the row as a whole is the better piece,
    // if it fits.
    if (parts == last_parts || (best && S / parts < 15 * min_elems / 16)) continue;
    last_parts = parts;
    ConsiderParts(sizes, tiling, parts, best);
  }
  return Found(best);
}

}  // namespace group_norm_grad::plan_internal
