// What the host tells the kernel about one launch. Plain data shared by both compilers: no calls,
// no includes but integers.
#pragma once

#include <cstdint>

namespace group_norm_grad {

enum class Schedule : int32_t {
  kNothing = 0,    // no output is wanted or all are empty: no launch
  kZeroFill,       // the sums run over nothing: grad_weight and grad_bias are zero
  kGroupTiles,     // tiles of whole groups, each read once
  kStreamedGroup,  // a core takes one group at a time in pieces: sums, then grad_input in reverse
                   // order
  kSplitGroup,  // pieces of all groups are dealt to all cores, which exchange sums between the two
                // passes
};

// Lengths are in elements, pitches are lengths that a 32-byte boundary follows. Names: N, C, S, G,
// D as in problem.h.
constexpr int32_t kFinishScratch = 2048;  // float32 elements of the second stage's reductions
constexpr int32_t kMaxSlots =
    5;  // of 8 event ids a direction: 2 are kept by the library, 1 by small transfers
constexpr int32_t kGroupSums =
    16;  // a block with the group's sum, one with its product sum, zeros behind each
constexpr int32_t kStatisticsWindow =
    64;  // groups of a walk over pieces whose mean and rstd are loaded together
constexpr int32_t kBankGroupsBytes = 512;  // of the unified buffer: once round the bank groups
constexpr int32_t kMaxParts = 64;  // parts of a row that are converted and summed one by one

struct GroupNormGradTiling {
  int64_t N, C, S, G, D;
  int64_t workspace_elems;  // float32
  int64_t partial_offset;   // in the workspace, of the first stage's sums of grad_out
  int64_t partial_elems;  // between the sums of grad_out and those of grad_out * xhat; both float32
  int64_t per_core, larger_cores;  // pieces (kSplitGroup) or groups (kStreamedGroup): the first
                                   // larger_cores take one more
  int64_t group_pieces;            // pieces of a group
  int64_t row_pieces;  // pieces of a channel's row; above 1 a piece is a part of one row
  int64_t last_row;    // first row of a group's last piece when row_pieces is 1
  int64_t n_base, n_larger, g_base,
      g_larger;         // kGroupTiles: the cores' shares of N and G, as per_core and larger_cores
  int64_t finish_rows;  // rows that the second stage adds up for one channel (batch blocks, or N)
  Schedule schedule;
  float neg_inv_group_elems;         // -1 / (D * S)
  int32_t row_pitch;                 // of one channel in the unified buffer (S = 1: unused)
  int32_t channel_pitch;             // of one value a channel, for one group
  int32_t group_pitch;               // of one group's data
  int32_t ub_bytes;                  // that the schedule uses
  int32_t slots, slot_elems;         // ring of (grad_out, input) buffers
  int32_t work_elems;                // float32 copies of 16-bit data; 0 for float32
  int32_t work_rows;                 // of one group that fit in them
  int32_t stat_elems, stat_entries;  // statistics loaded together, with padding and without
  int32_t scratch_elems;             // float32, for reductions
  int32_t vector_elems;              // float32, one value a channel of a compute unit or visit
  int32_t piece_rows, piece_elems;   // rows of a piece; elements of a part of a row
  int32_t g_blocks;                  // kGroupTiles: cores side by side along G
  int32_t tile_n, tile_g, unit_n,
      unit_g;  // kGroupTiles: groups of a DMA tile and of a compute unit
  int32_t window_n,
      window_g;          // kGroupTiles: groups whose statistics are in the unified buffer together
  int32_t share_groups;  // groups that a core has whole or parts of, one at a time in
                         // kStreamedGroup; 2 or more
  int32_t exchange_cores;   // kSplitGroup: most cores that share a core's first and last groups
  int32_t finish_channels;  // second stage: channels of a core at a time, a multiple of 16
  int32_t finish_cores, finish_tile_rows, finish_tile_pieces, finish_tile_elems;
  bool stat_is_float, weight_is_float, has_weight;
  bool want_input, want_weight, want_bias;
  bool sums_are_final;  // the first stage already has the whole sums: no second stage
};

}  // namespace group_norm_grad
