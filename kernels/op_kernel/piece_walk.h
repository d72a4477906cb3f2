// Schedule::kStreamedGroup and kSplitGroup: groups in pieces that fit in a slot of the ring. A
// first walk over the pieces adds up, a second one in reverse order writes grad_input, so that the
// pieces read last are still in the unified buffer and those before them in L2. A piece is some
// whole rows of a group, or a part of one row; with S = 1 it is a run of channels.
#pragma once

#include "piece_order.h"

namespace group_norm_grad {

template <class T>
class PieceWalk {
 public:
  __aicore__ inline explicit PieceWalk(Context<T>& context)
      : context_(context), tiling_(context.tiling), sums_(context) {}

  __aicore__ inline void Process() {
    ring_.Init(context_.pipe, context_.arena, tiling_.slots, tiling_.slot_elems, tiling_.halves);
    sums_.TakeBuffers();
    const bool split = tiling_.schedule == Schedule::kSplitGroup;
    const Share share = ShareOf(context_.core, tiling_.per_core, tiling_.larger_cores);
    const Share groups =
        split ? Share{context_.core * tiling_.whole_groups, tiling_.whole_groups} : share;
    first_dealt_ = split ? AscendC::GetBlockNum() * tiling_.whole_groups : tiling_.N * tiling_.G;
    dealt_count_ = split ? share.count : 0;
    dealt_ = CursorAt(tiling_, first_dealt_, split ? share.first : 0);
    whole_ = {groups.first, 0, 0};
    whole_count_ = groups.count * tiling_.group_pieces;
    if (dealt_count_ > 0) {
      last_dealt_ = CursorAt(tiling_, first_dealt_, share.first + dealt_count_ - 1);
    }
    last_flag_ = context_.HasSecondStage()     ? kChannelSums
                 : split && tiling_.want_input ? kDealtSums
                                               : kNoFlag;
    dealt_first_ =
        whole_count_ > 0 && dealt_count_ > 0 && context_.core >= tiling_.dealt_first_core;
    const bool whole_first = whole_count_ > 0 && !dealt_first_;
    const PieceCursor first = whole_first ? whole_ : dealt_;
    dealt_ahead_ = dealt_first_;
    ahead_ = first;
    ahead_count_ = whole_first ? whole_count_ : dealt_count_;
    const int64_t pieces =
        (whole_first ? 0 : dealt_count_) + (whole_count_ > 0 ? tiling_.group_pieces : 0);
    Preload(0, 1, 1);  // before the small loads, so that the memory does not wait for these
    sums_.values().Prepare(first, whole_, dealt_);
    Preload(1, 1, MinOf(pieces, ring_.slots()) - 1);
    if (dealt_first_) SumDealtFirst();
    Stream(groups);
    if (dealt_count_ > 0) WalkDealt();
    context_.flags.Signal(last_flag_);
    context_.flags.Wait(last_flag_);
    context_.courier.Reclaim();
  }

 private:
  // Between cores: the sums of all dealt groups are in the workspace; all sums a channel are.
  enum Flag : int32_t { kNoFlag = -1, kDealtSums = 0, kChannelSums = 1 };

  // The cores from dealt_first_core on add up their dealt pieces before their groups, and read them
  // again behind them: cores that turn from loads to the second pass all at once leave the memory
  // idle.
  __aicore__ inline void SumDealtFirst() {
    PieceCursor cursor = dealt_;
    sums_.StartGroups(cursor.group, 0);
    const int64_t more = MinOf(tiling_.group_pieces, ring_.slots());
    slot_ = ring_.Step(SumPieces(cursor, dealt_count_, 0, more), 1);
    LeaveGroupSums();
  }

  // Each group from its first piece to its last and back. Slots that a group frees, or never uses,
  // take the pieces that follow, the next group's or the dealt ones behind the last, so that the
  // load pipe does not wait for the change: the walk turns round in the ring from group to group.
  __aicore__ inline void Stream(const Share& groups) {
    const int64_t pieces = tiling_.group_pieces;
    const int64_t last = groups.first + groups.count - 1;
    for (int64_t group = groups.first; group <= last; ++group) {
      int32_t turn = ring_.Step(slot_, -direction_);
      const int64_t more = group < last ? pieces : dealt_count_;
      if (pieces < ring_.slots()) {
        Preload(turn, -direction_, MinOf(more, ring_.slots() - static_cast<int32_t>(pieces)));
      }
      PieceCursor cursor{group, 0, 0};
      sums_.StartGroups(group, tiling_.share_groups);
      const int32_t slot = SumPieces(cursor, pieces, slot_, more > 0 ? tiling_.spare_slots : 0);
      if (tiling_.spare_slots > 0) turn = ring_.Step(slot, direction_);
      if (group == last && (dealt_first_ || dealt_count_ == 0)) context_.flags.Signal(last_flag_);
      sums_.MakeCoefficients(group, sums_.group_sums(tiling_.share_groups));
      sums_.ClearGroup(tiling_.share_groups);
      Retreat(tiling_, cursor);
      WriteGradInput(cursor, pieces, slot, more, tiling_.spare_slots);
      slot_ = turn;
      direction_ = -direction_;
    }
  }

  // Pieces of the groups that nobody has as a whole are dealt to the cores in order, so that a
  // core's share starts and ends inside a group.
  __aicore__ inline void WalkDealt() {
    PieceCursor cursor = dealt_;
    int32_t slot = slot_;
    if (dealt_first_) {
      cursor = last_dealt_;
      direction_ = -direction_;
    } else {
      sums_.StartGroups(cursor.group, 0);
      slot = SumPieces(cursor, dealt_count_, slot_, 0);
      if (!tiling_.want_input) return;
      Retreat(tiling_, cursor);
      LeaveGroupSums();
      context_.flags.Signal(last_flag_);
    }
    AddUpDealt(cursor.group);
    exchanged_ = true;
    WriteGradInput(cursor, dealt_count_, slot, 0, 0);
  }

  __aicore__ inline void Preload(int32_t slot, int32_t direction, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      LoadAhead(slot);
      slot = ring_.Step(slot, direction);
    }
  }

  // First pass, with `more` pieces loaded behind these. Returns the slot of the last one; the
  // cursor ends after it.
  __aicore__ inline int32_t SumPieces(PieceCursor& cursor, int64_t pieces, int32_t slot,
                                      int64_t more) {
    for (int64_t i = 0; i < pieces; ++i) {
      if (i > 0) slot = ring_.Step(slot, direction_);
      const PieceShape shape = sums_.ShapeOf(cursor);
      const Half half = HalfOf(cursor, shape);
      const int32_t rows = half == Half::kNone ? shape.rows : HalfRows(shape);
      if (rows < shape.rows) {
        ring_.BeginHalf(half);
      } else {
        ring_.BeginCompute(slot);
      }
      if (sums_.StartsVisit(cursor, shape)) {
        sums_.FinishVisit();
        sums_.StartVisit(cursor);
      }
      const bool loads_ahead = i + ring_.slots() < pieces + more;
      const Release release = ring_.ReleaseOf(slot, loads_ahead);
      sums_.Add(sums_.RowsOf(shape, rows), ring_.grad_out(slot), ring_.input(slot),
                rows < shape.rows ? Release{} : release);
      if (rows < shape.rows) {
        ring_.BeginCompute(slot);
        const int32_t at = rows * shape.pitch;
        sums_.Add(sums_.RowsOf(shape, shape.rows - rows), ring_.grad_out(slot)[at],
                  ring_.input(slot)[at], release);
      }
      if (loads_ahead) LoadAhead(slot);
      Advance(tiling_, cursor);
    }
    sums_.FinishVisit();
    return slot;
  }

  // Second pass, from the cursor's piece backwards. The last slots' worth of pieces is still there,
  // or there again; `more` pieces are loaded behind them, the first of them already in the slot
  // after this one if there is a spare one.
  __aicore__ inline void WriteGradInput(PieceCursor cursor, int64_t pieces, int32_t slot,
                                        int64_t more, int32_t spare) {
    const int32_t kept = ring_.slots() - spare;
    const int32_t taken = spare > 0 ? ring_.Step(slot, direction_) : -1;
    PieceCursor back = cursor;
    for (int32_t i = 0; i < kept && i < pieces; ++i) Retreat(tiling_, back);
    int64_t group = -1;
    for (int64_t i = pieces - 1; i >= 0; --i) {
      const bool reloaded = i + kept < pieces || (dealt_first_ && exchanged_);
      if (cursor.group != group) {
        group = cursor.group;
        if (exchanged_) {
          sums_.values().OpenStatistics(group, true);
          sums_.MakeCoefficients(group,
                                 sums_.group_sums(static_cast<int32_t>(group - dealt_.group)));
        }
      }
      const PieceShape shape = sums_.ShapeOf(cursor);
      if (reloaded) ring_.BeginCompute(slot);
      // After the exchange nothing but stores is left: the first begins, and the last ends, half a
      // piece earlier.
      const bool waited_for = exchanged_ && (i == pieces - 1 || i == 0);
      const int32_t rows = waited_for ? HalfRows(shape) : shape.rows;
      const bool loads_ahead = i < kept && ring_.slots() - 1 - i < more;
      if (rows < shape.rows) {
        PieceCursor second = cursor;
        second.row += rows;
        WriteRows(second, sums_.RowsOf(shape, shape.rows - rows), slot, rows * shape.pitch,
                  reloaded, Release{});
      }
      WriteRows(cursor, sums_.RowsOf(shape, rows), slot, 0, reloaded,
                ring_.ReleaseOf(slot, i >= kept || loads_ahead));
      if (i >= kept) {
        Load(back, slot, Half::kNone);
        Retreat(tiling_, back);
      } else if (loads_ahead) {
        LoadAhead(slot);
      }
      Retreat(tiling_, cursor);
      slot = ring_.Step(slot, -direction_);
      if (slot == taken) slot = ring_.Step(slot, -direction_);
    }
  }

  // grad_input of some rows of a piece, from element `at` of the slot on.
  __aicore__ inline void WriteRows(const PieceCursor& cursor, const PieceShape& shape, int32_t slot,
                                   int32_t at, bool reloaded, const Release& release) {
    const LocalTensor<T> grad_out = ring_.grad_out(slot)[at];
    sums_.Apply(cursor, shape, grad_out, ring_.input(slot)[at], reloaded, release);
    ring_.BeginStore(slot);
    StoreRows<T>(context_.grad_input, sums_.OffsetOf(cursor), grad_out, sums_.MoveOf(shape));
  }

  // Every core leaves the sums of its first and of its last dealt group in the workspace: others
  // may have parts of those.
  __aicore__ inline void LeaveGroupSums() {
    Courier& courier = context_.courier;
    const int32_t last = static_cast<int32_t>(last_dealt_.group - dealt_.group);
    if (last == 0) {
      AscendC::Adds(sums_.group_sums(1), sums_.group_sums(0), 0.0f, kGroupSums);
      Order();
    }
    courier.Reclaim();
    courier.BeforeStore();
    StoreRows<float>(context_.workspace, context_.core * 2 * kGroupSums, sums_.group_sums(0),
                     {2, kGroupSums, (last == 0 ? 1 : last) * kGroupSums, kGroupSums});
    courier.AfterStore();
    context_.flags.Signal(kDealtSums);
  }

  // Adds up, in the order of the cores, what all of them have of the core's first and of its last
  // dealt group. The groups between are its own.
  __aicore__ inline void AddUpDealt(int64_t last_group) {
    Courier& courier = context_.courier;
    courier.Reclaim();
    context_.flags.Wait(kDealtSums);
    const Dealing dealing{first_dealt_, context_.core, tiling_.per_core, tiling_.larger_cores, {}};
    const int64_t first_core = dealing.FirstOf(tiling_, dealt_.group);
    const int64_t last_core = dealing.LastOf(tiling_, last_group);
    const int32_t count = static_cast<int32_t>(last_core - first_core + 1) * 2 * kGroupSums;
    courier.BeforeLoad();
    LoadRows<float>(sums_.gathered(), context_.workspace, first_core * 2 * kGroupSums,
                    {1, count, count, count});
    courier.AfterLoad();
    AddUpEnds(tiling_, dealing, dealt_.group, last_group, sums_.group_sums(0), sums_.gathered());
  }

  // The next of the core's pieces: those of its groups, then the dealt ones. If it adds these up
  // first, they come before the groups, and once more behind them, the last one first.
  __aicore__ inline void LoadAhead(int32_t slot) {
    Load(ahead_, slot, backwards_ ? Half::kNone : HalfOf(ahead_, sums_.ShapeOf(ahead_)));
    if (backwards_) {
      Retreat(tiling_, ahead_);
    } else {
      Advance(tiling_, ahead_);
    }
    if (--ahead_count_ != 0) return;
    if (dealt_ahead_) {
      dealt_ahead_ = false;
      ahead_ = whole_;
      ahead_count_ = whole_count_;
    } else {
      backwards_ = dealt_first_;
      ahead_ = dealt_first_ ? last_dealt_ : dealt_;
    }
  }

  // In the first pass the turn to the second one, or to the exchange, waits for these loads.
  __aicore__ inline Half HalfOf(const PieceCursor& cursor, const PieceShape& shape) const {
    if (HalfRows(shape) == shape.rows) return Half::kNone;
    if (cursor.group < first_dealt_) {
      return cursor.row == tiling_.last_row ? Half::kOfGroup : Half::kNone;
    }
    const bool last = cursor.group == last_dealt_.group && cursor.row == last_dealt_.row;
    return last ? Half::kOfDealt : Half::kNone;
  }

  // Of a piece's first half; all of them where nothing is halved.
  __aicore__ inline int32_t HalfRows(const PieceShape& shape) const {
    return tiling_.halves ? (shape.rows + 1) / 2 : shape.rows;
  }

  __aicore__ inline void Load(const PieceCursor& cursor, int32_t slot, Half half) {
    const PieceShape shape = sums_.ShapeOf(cursor);
    const int64_t offset = sums_.OffsetOf(cursor);
    ring_.BeginInput(slot);
    if (context_.NeedProductSums()) {
      LoadRows<T>(ring_.input(slot), context_.input, offset, sums_.MoveOf(shape));
    }
    ring_.BeginGradOut(slot);
    const int32_t rows = half == Half::kNone ? shape.rows : HalfRows(shape);
    LoadRows<T>(ring_.grad_out(slot), context_.grad_out, offset,
                sums_.MoveOf(sums_.RowsOf(shape, rows)));
    if (rows < shape.rows) {
      ring_.EndHalf(half);
      LoadRows<T>(ring_.grad_out(slot)[rows * shape.pitch], context_.grad_out,
                  offset + rows * tiling_.S, sums_.MoveOf(sums_.RowsOf(shape, shape.rows - rows)));
    }
    ring_.EndLoad(slot);
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  PieceSums<T> sums_;
  Ring<T> ring_;
  PieceCursor whole_;  // the first piece of the core's groups
  int64_t whole_count_;
  PieceCursor dealt_, last_dealt_;  // the first and the last of its dealt pieces
  int64_t dealt_count_;
  int64_t first_dealt_;  // the first group that is dealt out
  PieceCursor ahead_;    // the next piece to load
  int64_t ahead_count_;  // pieces from there to the next change between whole and dealt
  bool dealt_ahead_ = false, backwards_ = false;
  bool dealt_first_;
  int32_t last_flag_;
  int32_t slot_ = 0;        // of the next group's first piece
  int32_t direction_ = 1;   // in the ring, of the first pass
  bool exchanged_ = false;  // the sums of groups are those of several cores
};

}  // namespace group_norm_grad
