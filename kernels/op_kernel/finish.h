// The second stage: partial sums in the workspace to grad_weight and grad_bias, each channel added
// up by one core in a fixed order; and the zeros of problems whose sums run over nothing.
#pragma once

#include "context.h"

namespace group_norm_grad {

template <class T>
class Finish {
 public:
  __aicore__ inline explicit Finish(Context<T>& context)
      : context_(context), tiling_(context.tiling) {}

  // After SyncAll, with no buffer of the first stage in use.
  __aicore__ inline void Process() {
    // From the last core down: the first ones have the larger shares of the first stage.
    const int64_t core = AscendC::GetBlockNum() - 1 - context_.core;
    if (core >= tiling_.finish_cores) return;
    TakeBuffers();
    const int64_t all_cores = tiling_.finish_cores * tiling_.finish_channels;
    for (channel_ = core * tiling_.finish_channels; channel_ < tiling_.C; channel_ += all_cores) {
      channels_ = MinOf(tiling_.C - channel_, tiling_.finish_channels);
      pitch_ = RoundUpTo<kBlockLanes>(channels_);
      if (tiling_.want_bias) Reduce(tiling_.partial_offset, context_.grad_bias);
      if (tiling_.want_weight) {
        Reduce(tiling_.partial_offset + tiling_.partial_elems, context_.grad_weight);
      }
    }
    context_.courier.Reclaim();
  }

 private:
  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    tile_ = arena.Take<float>(tiling_.finish_tile_elems);
    total_ = arena.Take<float>(tiling_.finish_channels);
    row_sums_ = arena.Take<float>(tiling_.finish_channels);
    scratch_ = arena.Take<float>(kFinishScratch);
    staging_ = arena.Take<T>(tiling_.finish_channels);
  }

  __aicore__ inline void Reduce(int64_t offset, const EitherType<T>& output) {
    context_.courier.Reclaim();
    AscendC::Duplicate(total_, 0.0f, pitch_);
    if (tiling_.schedule == Schedule::kZeroFill) {
      Order();
    } else if (tiling_.row_pieces > 1) {
      AscendC::Duplicate(row_sums_, 0.0f, pitch_);
      Order();
      ReducePieces(offset);
    } else {
      ReduceRows(offset);
    }
    Store(output);
  }

  // Rows of C values: a tile of rows at a time, folded pairwise.
  __aicore__ inline void ReduceRows(int64_t offset) {
    for (int64_t row = 0; row < tiling_.finish_rows; row += tiling_.finish_tile_rows) {
      const int32_t rows = MinOf(tiling_.finish_rows - row, tiling_.finish_tile_rows);
      context_.courier.BeforeLoad();
      LoadRows<float>(tile_, context_.workspace, offset + row * tiling_.C + channel_,
                      {rows, channels_, pitch_, tiling_.C});
      context_.courier.AfterLoad();
      FoldRows(tile_, rows, pitch_);
      Order();
      AscendC::Add(total_, total_, tile_, pitch_);
      Order();
    }
  }

  // Rows of C * row_pieces values: the pieces of the channels are summed one tile of pieces at a
  // time.
  __aicore__ inline void ReducePieces(int64_t offset) {
    for (int64_t row = 0; row < tiling_.finish_rows; ++row) {
      const int64_t first = offset + (row * tiling_.C + channel_) * tiling_.row_pieces;
      for (int64_t piece = 0; piece < tiling_.row_pieces; piece += tiling_.finish_tile_pieces) {
        const int32_t pieces = MinOf(tiling_.row_pieces - piece, tiling_.finish_tile_pieces);
        const int32_t pitch = RoundUpTo<kBlockLanes>(pieces);
        context_.courier.BeforeLoad();
        LoadRows<float>(tile_, context_.workspace, first + piece,
                        {channels_, pieces, pitch, tiling_.row_pieces});
        context_.courier.AfterLoad();
        SumRows<false>(row_sums_, tile_, tile_, channels_, pitch, scratch_, kFinishScratch, true);
        AscendC::Add(total_, total_, row_sums_, pitch_);
        Order();
      }
    }
  }

  __aicore__ inline void Store(const EitherType<T>& output) {
    context_.courier.Reclaim();
    output.Narrow(staging_, total_, pitch_);
    context_.courier.BeforeStore();
    output.Store(channel_, total_, staging_, {1, channels_, pitch_, channels_});
    context_.courier.AfterStore();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  int64_t channel_;
  int32_t channels_, pitch_;
  LocalTensor<float> tile_, total_, row_sums_, scratch_;
  LocalTensor<T> staging_;
};

}  // namespace group_norm_grad
