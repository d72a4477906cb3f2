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

  // After the wait for all cores' sums, with no buffer of the first stage in use.
  __aicore__ inline void Process() {
    // From the last core down: the first ones have the larger shares of the first stage.
    const int64_t core = AscendC::GetBlockNum() - 1 - context_.core;
    if (core >= tiling_.finish_cores) return;
    TakeBuffers();
    const int64_t all_cores = tiling_.finish_cores * tiling_.finish_channels;
    for (channel_ = core * tiling_.finish_channels; channel_ < tiling_.C; channel_ += all_cores) {
      channels_ = MinOf(tiling_.C - channel_, tiling_.finish_channels);
      pitch_ = RoundUpTo<kBlockLanes>(channels_);
      Reduce();
    }
    context_.courier.Reclaim();
  }

 private:
  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    outputs_ = (tiling_.want_bias ? 1 : 0) + (tiling_.want_weight ? 1 : 0);
    tile_ = arena.Take<float>(outputs_ * tiling_.finish_tile_elems);
    total_ = arena.Take<float>(outputs_ * tiling_.finish_channels);
    row_sums_ = arena.Take<float>(outputs_ * tiling_.finish_channels);
    scratch_ = arena.Take<float>(kFinishScratch);
    staging_ = arena.Take<T>(outputs_ * tiling_.finish_channels);
  }

  // Of an output in the workspace: grad_bias comes before grad_weight.
  __aicore__ inline int64_t PartialOffset(int32_t output) const {
    const bool weight = output > 0 || !tiling_.want_bias;
    return tiling_.partial_offset + (weight ? tiling_.partial_elems : 0);
  }

  // The run of channels of both outputs at once, or of the one that is wanted.
  __aicore__ inline void Reduce() {
    context_.courier.Reclaim();
    AscendC::Duplicate(total_, 0.0f, outputs_ * pitch_);
    if (tiling_.schedule == Schedule::kZeroFill) {
      Order();
    } else if (tiling_.row_pieces > 1) {
      AscendC::Duplicate(row_sums_, 0.0f, outputs_ * pitch_);
      Order();
      ReducePieces();
    } else {
      ReduceRows();
    }
    Store();
  }

  // Rows of C values: a tile of rows at a time, an output's beside the other's, folded pairwise.
  __aicore__ inline void ReduceRows() {
    const int32_t width = outputs_ * pitch_;
    for (int64_t row = 0; row < tiling_.finish_rows; row += tiling_.finish_tile_rows) {
      const int32_t rows = MinOf(tiling_.finish_rows - row, tiling_.finish_tile_rows);
      context_.courier.BeforeLoad();
      for (int32_t i = 0; i < outputs_; ++i) {
        LoadRows<float>(tile_[i * pitch_], context_.workspace,
                        PartialOffset(i) + row * tiling_.C + channel_,
                        {rows, channels_, width, tiling_.C});
      }
      context_.courier.AfterLoad();
      FoldRows(tile_, rows, width);
      Order();
      AscendC::Add(total_, total_, tile_, width);
      Order();
    }
  }

  // Rows of C * row_pieces values: the pieces of the channels are summed one tile of pieces at a
  // time.
  __aicore__ inline void ReducePieces() {
    for (int64_t row = 0; row < tiling_.finish_rows; ++row) {
      const int64_t first = (row * tiling_.C + channel_) * tiling_.row_pieces;
      for (int64_t piece = 0; piece < tiling_.row_pieces; piece += tiling_.finish_tile_pieces) {
        const int32_t pieces = MinOf(tiling_.row_pieces - piece, tiling_.finish_tile_pieces);
        const int32_t pitch = RoundUpTo<kBlockLanes>(pieces);
        context_.courier.BeforeLoad();
        for (int32_t i = 0; i < outputs_; ++i) {
          LoadRows<float>(tile_[i * tiling_.finish_tile_elems], context_.workspace,
                          PartialOffset(i) + first + piece,
                          {channels_, pieces, pitch, tiling_.row_pieces});
        }
        context_.courier.AfterLoad();
        for (int32_t i = 0; i < outputs_; ++i) {
          const LocalTensor<float> tile = tile_[i * tiling_.finish_tile_elems];
          SumRows<false>(row_sums_[i * pitch_], tile, tile, channels_, pitch, scratch_,
                         kFinishScratch, true);
        }
        AscendC::Add(total_, total_, row_sums_, outputs_ * pitch_);
        Order();
      }
    }
  }

  __aicore__ inline void Store() {
    const LocalTensor<float> weight_total = total_[(outputs_ - 1) * pitch_];
    const LocalTensor<T> weight_staging = staging_[(outputs_ - 1) * tiling_.finish_channels];
    context_.courier.Reclaim();
    if (tiling_.want_bias) context_.grad_bias.Narrow(staging_, total_, pitch_);
    if (tiling_.want_weight) context_.grad_weight.Narrow(weight_staging, weight_total, pitch_);
    context_.courier.BeforeStore();
    const RowShape shape{1, channels_, pitch_, channels_};
    if (tiling_.want_bias) context_.grad_bias.Store(channel_, total_, staging_, shape);
    if (tiling_.want_weight) {
      context_.grad_weight.Store(channel_, weight_total, weight_staging, shape);
    }
    context_.courier.AfterStore();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  int32_t outputs_;
  int64_t channel_;
  int32_t channels_, pitch_;
  LocalTensor<float> tile_, total_, row_sums_, scratch_;
  LocalTensor<T> staging_;
};

}  // namespace group_norm_grad
