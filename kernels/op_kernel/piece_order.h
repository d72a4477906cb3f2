// The order of a group's pieces, and how the pieces of dealt groups fall to the cores.
#pragma once

#include "piece_sums.h"

namespace group_norm_grad {

// The place of a piece of the groups from first_group on.
__aicore__ inline PieceCursor CursorAt(const GroupNormGradTiling& tiling, int64_t first_group,
                                       int64_t piece) {
  const int64_t group = piece / tiling.group_pieces;
  const int64_t within = piece - group * tiling.group_pieces;
  PieceCursor cursor{first_group + group, within * tiling.piece_rows, 0};
  if (tiling.row_pieces > 1) {
    cursor.row = within / tiling.row_pieces;
    cursor.piece = within - cursor.row * tiling.row_pieces;
  }
  return cursor;
}

__aicore__ inline void Advance(const GroupNormGradTiling& tiling, PieceCursor& cursor) {
  if (tiling.row_pieces > 1) {
    if (++cursor.piece < tiling.row_pieces) return;
    cursor.piece = 0;
    ++cursor.row;
  } else {
    cursor.row += tiling.piece_rows;
  }
  if (cursor.row < tiling.D) return;
  cursor.row = 0;
  ++cursor.group;
}

__aicore__ inline void Retreat(const GroupNormGradTiling& tiling, PieceCursor& cursor) {
  if (tiling.row_pieces > 1) {
    if (--cursor.piece >= 0) return;
    cursor.piece = tiling.row_pieces - 1;
    --cursor.row;
  } else {
    cursor.row -= tiling.piece_rows;
  }
  if (cursor.row >= 0) return;
  cursor.row = tiling.last_row;
  --cursor.group;
}

// Pieces of groups from first_group on that are dealt to the cores in order; the first `larger`
// positions take one more than `base`.
struct Dealing {
  int64_t first_group;
  int64_t position;  // of this core
  int64_t base, larger;
  Share share;

  // Positions of the first and of the last core that have pieces of this group.
  __aicore__ inline int64_t FirstOf(const GroupNormGradTiling& tiling, int64_t group) const {
    int64_t at = position;
    const int64_t begin = (group - first_group) * tiling.group_pieces;
    while (ShareOf(at, base, larger).first > begin) --at;
    return at;
  }
  __aicore__ inline int64_t LastOf(const GroupNormGradTiling& tiling, int64_t group) const {
    int64_t at = position;
    const int64_t end = (group - first_group + 1) * tiling.group_pieces;
    while (at + 1 < AscendC::GetBlockNum() && ShareOf(at + 1, base, larger).first < end) ++at;
    return at;
  }
};

// Every core leaves two blocks of sums, those of its first and of its last group, in the order of
// the positions: a group that starts at `first` is that core's last one, and the others' first.
__aicore__ inline void AddUpGroup(const LocalTensor<float>& total,
                                  const LocalTensor<float>& gathered, int32_t first, int32_t last) {
  AscendC::Adds(total, gathered[(2 * first + 1) * kGroupSums], 0.0f, kGroupSums);
  Order();
  for (int32_t at = first + 1; at <= last; ++at) {
    AscendC::Add(total, total, gathered[2 * at * kGroupSums], kGroupSums);
    Order();
  }
}

// Likewise of a core's first and of its last group, whose sums are `own` and those of the groups
// between, from what the cores have that share one of the two. The groups between are its own.
__aicore__ inline void AddUpEnds(const GroupNormGradTiling& tiling, const Dealing& dealing,
                                 int64_t first_group, int64_t last_group,
                                 const LocalTensor<float>& own,
                                 const LocalTensor<float>& gathered) {
  const int64_t first_core = dealing.FirstOf(tiling, first_group);
  const int32_t last = static_cast<int32_t>(last_group - first_group);
  if (first_core < dealing.position || last == 0) {
    AddUpGroup(own, gathered, 0,
               static_cast<int32_t>(dealing.LastOf(tiling, first_group) - first_core));
  }
  if (last > 0) {
    AddUpGroup(own[last * kGroupSums], gathered,
               static_cast<int32_t>(dealing.position - first_core),
               static_cast<int32_t>(dealing.LastOf(tiling, last_group) - first_core));
  }
}

}  // namespace group_norm_grad
