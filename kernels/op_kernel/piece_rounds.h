// Schedule::kSplitGroup in rounds: each round's groups are dealt to all cores, and the second pass
// over a round goes on between the loads of the next ones, so that the memory does not wait for the
// cores to exchange their sums. Every piece comes a second time, from L2.
#pragma once

#include "piece_order.h"

namespace group_norm_grad {

template <class T>
class PieceRounds {
 public:
  __aicore__ inline explicit PieceRounds(Context<T>& context)
      : context_(context), tiling_(context.tiling), sums_(context) {}

  __aicore__ inline void Process() {
    ring_.Init(context_.pipe, context_.arena, tiling_.slots, tiling_.slot_elems);
    sums_.TakeBuffers();
    // Not all cores turn to L2 at once: the memory waits for nothing while others load from it.
    lag_ = tiling_.lag + context_.core % kLags;
    for (int32_t round = 0; round < tiling_.rounds; ++round) {
      pieces_ += DealingOf(round).share.count;
    }
    Open(sums_walk_, 0);
    Open(writes_walk_, 0);
    sum_loads_ = sums_walk_;
    write_loads_ = writes_walk_;
    LoadUpTo(1);  // before the small loads, so that the memory does not wait for these
    if (pieces_ > 0) {
      sums_.values().Prepare(sums_walk_.cursor, sums_walk_.cursor, sums_walk_.cursor);
    }
    context_.flags.Signal(sums_walk_.round - 1);
    int32_t slot = 0;
    for (int64_t item = 0; item < 2 * pieces_; ++item) {
      LoadUpTo(item + ring_.slots());
      if (WriteIsNext(done_)) {
        Write(slot);
      } else {
        Sum(slot);
      }
      slot = ring_.Step(slot, 1);
    }
    context_.flags.Wait(tiling_.rounds - 1);
    context_.courier.Reclaim();
  }

 private:
  static constexpr int32_t kLags = 4;

  // Over the core's pieces, round by round.
  struct Walk {
    int32_t round;
    Dealing dealing;
    int64_t left;  // pieces of the round
    PieceCursor cursor;

    __aicore__ inline bool StartsRound() const { return left == dealing.share.count; }
  };
  // Pieces that were added up, and that were written.
  struct Progress {
    int64_t sums = 0, writes = 0;
  };

  __aicore__ inline Dealing DealingOf(int32_t round) const {
    const Share groups = ShareOf(round, tiling_.round_groups, tiling_.larger_rounds);
    const bool late = round >= tiling_.larger_rounds;
    const int64_t blocks = AscendC::GetBlockNum();
    Dealing dealing{groups.first,
                    context_.core,
                    late ? tiling_.late_per_core : tiling_.per_core,
                    late ? tiling_.late_larger_cores : tiling_.larger_cores,
                    {0, 0}};
    // The larger shares of a round go to the cores behind those of the round before.
    for (int32_t i = 0; i < round; ++i) {
      dealing.position -=
          i < tiling_.larger_rounds ? tiling_.larger_cores : tiling_.late_larger_cores;
      if (dealing.position < 0) dealing.position += blocks;
    }
    dealing.share = ShareOf(dealing.position, dealing.base, dealing.larger);
    return dealing;
  }

  // At the first of the rounds from this one on that the core has pieces of.
  __aicore__ inline void Open(Walk& walk, int32_t round) {
    for (walk.round = round; walk.round < tiling_.rounds; ++walk.round) {
      walk.dealing = DealingOf(walk.round);
      walk.left = walk.dealing.share.count;
      if (walk.left == 0) continue;
      walk.cursor = CursorAt(tiling_, walk.dealing.first_group, walk.dealing.share.first);
      return;
    }
  }

  __aicore__ inline void Step(Walk& walk) {
    Advance(tiling_, walk.cursor);
    if (--walk.left == 0) Open(walk, walk.round + 1);
  }

  __aicore__ inline bool WriteIsNext(const Progress& progress) const {
    // At last all alike, so that no core's sums come late, with most pieces left for the exchange.
    const bool late = progress.sums + tiling_.lag / 2 > pieces_ + 1;
    const int64_t lag = late ? tiling_.lag + kLags - 1 : lag_;
    return progress.sums == pieces_ || progress.writes + lag <= progress.sums;
  }

  __aicore__ inline void LoadUpTo(int64_t items) {
    while (loaded_.sums + loaded_.writes < MinOf64(items, 2 * pieces_)) {
      const bool write = WriteIsNext(loaded_);
      Walk& walk = write ? write_loads_ : sum_loads_;
      if (write && walk.StartsRound()) {
        // The others' sums, if this core has left its own, and those before are added up.
        if (gathering_ || !context_.flags.HasSignalled(walk.round)) return;
        Gather(walk);
      }
      Load(walk.cursor);
      ++(write ? loaded_.writes : loaded_.sums);
      Step(walk);
    }
  }

  __aicore__ inline void Load(const PieceCursor& cursor) {
    const RowShape move = sums_.MoveOf(sums_.ShapeOf(cursor));
    const int64_t offset = sums_.OffsetOf(cursor);
    ring_.BeginInput(load_slot_);
    LoadRows<T>(ring_.input(load_slot_), context_.input, offset, move);
    ring_.BeginGradOut(load_slot_);
    LoadRows<T>(ring_.grad_out(load_slot_), context_.grad_out, offset, move);
    ring_.EndLoad(load_slot_);
    load_slot_ = ring_.Step(load_slot_, 1);
  }

  __aicore__ inline void Sum(int32_t slot) {
    Walk& walk = sums_walk_;
    if (walk.StartsRound()) sums_.StartGroups(walk.cursor.group, BankOf(walk));
    const PieceShape shape = sums_.ShapeOf(walk.cursor);
    ring_.BeginCompute(slot);
    if (sums_.StartsVisit(walk.cursor, shape)) {
      sums_.FinishVisit();
      sums_.StartVisit(walk.cursor);
    }
    sums_.Add(shape, ring_.grad_out(slot), ring_.input(slot), ReleaseOf(slot));
    ++done_.sums;
    const bool last = walk.left == 1;
    if (last) LeaveSums(walk);
    Step(walk);
    if (last) context_.flags.Signal(walk.round - 1);
  }

  __aicore__ inline Release ReleaseOf(int32_t slot) {
    return ring_.ReleaseOf(slot, done_.sums + done_.writes + ring_.slots() < 2 * pieces_);
  }

  // Of the sums a group.
  __aicore__ inline int32_t BankOf(const Walk& walk) const {
    return walk.round * tiling_.round_share;
  }

  // Of the core's first and of its last group in this round: others may have parts of those. They
  // stay as they are until every core has signalled the round.
  __aicore__ inline void LeaveSums(const Walk& walk) {
    sums_.FinishVisit();
    const int32_t bank = BankOf(walk);
    const int64_t first =
        CursorAt(tiling_, walk.dealing.first_group, walk.dealing.share.first).group;
    const int32_t last = static_cast<int32_t>(walk.cursor.group - first);
    if (last == 0) {
      AscendC::Adds(sums_.group_sums(bank + 1), sums_.group_sums(bank), 0.0f, kGroupSums);
      Order();
    }
    context_.courier.BeforeStore();
    StoreRows<float>(context_.workspace, ExchangeAt(walk, walk.dealing.position),
                     sums_.group_sums(bank),
                     {2, kGroupSums, (last == 0 ? 1 : last) * kGroupSums, kGroupSums});
  }

  __aicore__ inline int64_t ExchangeAt(const Walk& walk, int64_t position) const {
    return (walk.round * AscendC::GetBlockNum() + position) * 2 * kGroupSums;
  }

  __aicore__ inline int64_t LastGroupOf(const Walk& walk) const {
    const Share& share = walk.dealing.share;
    return CursorAt(tiling_, walk.dealing.first_group, share.first + share.count - 1).group;
  }

  // What all cores have of the first and of the last group; it arrives with the piece behind it.
  __aicore__ inline void Gather(const Walk& walk) {
    context_.flags.Wait(walk.round);
    const int64_t first = walk.dealing.FirstOf(tiling_, walk.cursor.group);
    const int64_t last = walk.dealing.LastOf(tiling_, LastGroupOf(walk));
    const int32_t count = static_cast<int32_t>(last - first + 1) * 2 * kGroupSums;
    context_.courier.BeforeLoad();
    LoadRows<float>(sums_.gathered(), context_.workspace, ExchangeAt(walk, first),
                    {1, count, count, count});
    gathering_ = true;
  }

  __aicore__ inline void AddUp(const Walk& walk) {
    AddUpEnds(tiling_, walk.dealing, walk.cursor.group, LastGroupOf(walk),
              sums_.group_sums(BankOf(walk)), sums_.gathered());
    first_written_ = walk.cursor.group;
    gathering_ = false;
  }

  // grad_input of a piece.
  __aicore__ inline void Write(int32_t slot) {
    Walk& walk = writes_walk_;
    const PieceShape shape = sums_.ShapeOf(walk.cursor);
    ring_.BeginCompute(slot);
    const bool starts = walk.StartsRound();
    if (starts) AddUp(walk);
    if (starts || walk.cursor.group != written_) {
      written_ = walk.cursor.group;
      const int32_t at = BankOf(walk) + static_cast<int32_t>(written_ - first_written_);
      sums_.values().OpenStatistics(written_, false);
      sums_.MakeCoefficients(written_, sums_.group_sums(at));
    }
    const LocalTensor<T>& grad_out = ring_.grad_out(slot);
    sums_.Apply(walk.cursor, shape, grad_out, ring_.input(slot), true, ReleaseOf(slot));
    ring_.BeginStore(slot);
    StoreRows<T>(context_.grad_input, sums_.OffsetOf(walk.cursor), grad_out, sums_.MoveOf(shape));
    ++done_.writes;
    Step(walk);
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  PieceSums<T> sums_;
  Ring<T> ring_;
  Walk sums_walk_, writes_walk_;  // the pieces to add up and to write
  Walk sum_loads_, write_loads_;  // and to load for it
  Progress loaded_, done_;
  int64_t pieces_ = 0;  // of this core
  int64_t lag_;         // pieces by which the second pass is behind the first
  int32_t load_slot_ = 0;
  bool gathering_ = false;      // the others' sums are on their way, or there, and not added up
  int64_t written_ = -1;        // the group whose coefficients are there
  int64_t first_written_ = -1;  // the core's first one in this round
};

}  // namespace group_norm_grad
