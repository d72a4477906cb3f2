// What the host tells the kernel about one launch. Plain data shared by both compilers: no calls,
// no includes but integers.
#pragma once

#include <cstdint>

namespace group_norm_grad {

enum class Schedule : int32_t {
  kNothing = 0,  // no output is wanted or all are empty: no launch
  kZeroFill,     // the sums run over nothing: grad_weight and grad_bias are zero
  kGroupTiles,   // tiles of whole groups, each read once
  // a core takes one group at a time in pieces: sums, then grad_input in reverse order
  kStreamedGroup,
  // pieces of groups are dealt to all cores, which exchange sums between the two passes
  kSplitGroup,
};

constexpr int32_t kFinishScratch = 2048;  // float32 elements of the second stage's reductions
// Of 8 event ids a direction 2 are kept by the library and 1 by small transfers; loads in halves
// take 2 more.
constexpr int32_t kMaxSlots = 5;
constexpr int32_t kMaxHalvedSlots = 3;
// A block with the group's sum, one with its product sum, zeros behind each.
constexpr int32_t kGroupSums = 16;
// Groups of a walk over pieces whose mean and rstd are loaded together.
constexpr int32_t kStatisticsWindow = 32;
// 16-bit parts of a row whose sums are added up one by one before their tree goes on.
constexpr int32_t kMostUnits = 32;
constexpr int32_t kMaxRounds = 8;          // each has a flag between cores
constexpr int32_t kBankGroupsBytes = 512;  // of the unified buffer: once round the bank groups

// Lengths are in elements; a pitch is a length that ends on a 32-byte boundary. Names: N, C, S, G,
// D as in problem.h. One member a declaration, because the launch generators of CANN 8 read this by
// pattern.
struct GroupNormGradTiling {
  int64_t N;
  int64_t C;
  int64_t S;
  int64_t G;
  int64_t D;
  int64_t workspace_elems;  // float32
  int64_t partial_offset;   // in the workspace, of the first stage's sums of grad_out
  int64_t partial_elems;    // from the sums of grad_out to those of grad_out * xhat; float32
  // Pieces (kSplitGroup) or groups (kStreamedGroup) of a core; the first larger_cores take one
  // more.
  int64_t per_core;
  int64_t larger_cores;
  // In rounds: those of the first larger_rounds; of the others.
  int64_t late_per_core;
  int64_t late_larger_cores;
  int64_t round_groups;  // kSplitGroup: of a round; the first larger_rounds take one more
  int64_t whole_groups;  // kSplitGroup: that every core streams before; the other groups are dealt
  int64_t group_pieces;  // pieces of a group
  int64_t row_pieces;    // pieces of a channel's row; above 1 a piece is a part of one row
  int64_t last_row;      // first row of a group's last piece
  // kGroupTiles: the cores' shares of N, own_n left out, and of G, like per_core and larger_cores.
  int64_t n_base;
  int64_t n_larger;
  int64_t g_base;
  int64_t g_larger;
  int64_t finish_rows;  // that the second stage adds up for one channel: batch blocks, or N
  Schedule schedule;
  float neg_inv_group_elems;  // -1 / (D * S)
  int32_t row_pitch;          // of one channel in the unified buffer; S = 1: unused
  int32_t channel_pitch;      // of one value a channel, for one group
  int32_t group_pitch;        // of one group's data
  int32_t ub_bytes;           // that the schedule uses
  int32_t slots;              // of the ring of (grad_out, input) buffers
  int32_t spare_slots;        // 1: one takes the next group's first piece before the second pass
  int32_t slot_elems;
  int32_t work_elems;     // float32 copies of 16-bit data; 0 for float32
  int32_t work_rows;      // of one group that fit in them
  int32_t stat_elems;     // statistics loaded together, with padding
  int32_t stat_entries;   // and without
  int32_t scratch_elems;  // float32, for reductions
  // 16-bit pieces: after the first level of a row's tree, or of that of a part of it; 0 where rows
  // have none.
  int32_t tree_lanes;
  int32_t tree_rows;     // trees in the scratch together
  int32_t vector_elems;  // float32, one value a channel of a visit
  int32_t weight_elems;  // of the weight in the unified buffer: all of it, or a visit's
  int32_t weight_pitch;  // of a group's weight when all of it is there; else 0
  int32_t weight_staging_elems;
  int32_t dealt_first_core;  // with whole_groups: from there on cores start with their dealt pieces
  int32_t rounds;            // kSplitGroup: 1, or more
  int32_t larger_rounds;
  int32_t round_share;  // groups of which a core has pieces in a round; 2 or more
  int32_t lag;          // in rounds: pieces from the first pass to the second, or a few more
  int32_t piece_rows;   // rows of a piece
  int32_t piece_elems;  // elements of a part of a row
  int32_t g_blocks;     // kGroupTiles: cores side by side along G
  // kGroupTiles: above 0, each of the first G cores has the first own_n of one group, and finishes
  // its sums a channel; tiles are then of one group.
  int32_t own_n;
  // kGroupTiles: groups of a DMA tile, of a compute unit, and of a window of statistics.
  int32_t tile_n;
  int32_t tile_g;
  int32_t unit_n;
  int32_t unit_g;
  int32_t window_n;
  int32_t window_g;
  int32_t share_groups;    // whose sums a core keeps between the passes; 2 or more
  int32_t exchange_cores;  // kSplitGroup: most cores that share a core's first and last groups
  // Second stage.
  int32_t finish_channels;  // of a core at a time, a multiple of 16
  int32_t finish_cores;
  int32_t finish_tile_rows;
  int32_t finish_tile_pieces;
  int32_t finish_tile_elems;  // of an output
  bool halves;                // pieces that something waits for are loaded, or stored, in halves
  bool stat_is_float;
  bool weight_is_float;
  bool has_weight;
  bool want_input;
  bool want_weight;
  bool want_bias;
  bool sums_are_final;  // the first stage already has the whole sums: no second stage
};

}  // namespace group_norm_grad
