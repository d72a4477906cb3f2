// The arithmetic on one compute unit of a tile: whole groups, or one group a few rows at a time.
// Which groups, and where their data and statistics are, is group_tiles.h's business.
#pragma once

#include "context.h"

namespace group_norm_grad {

// What a compute unit works on: `groups` groups, n_count rows of `width` values a channel.
struct TileUnit {
  int32_t groups;
  int32_t n_count;
  int32_t width;
  int32_t step;  // between the groups' statistics, in blocks
  LocalTensor<float> mean, rstd, weight, sums, product_sums;
};

template <class T>
class TileUnits {
 public:
  __aicore__ inline explicit TileUnits(Context<T>& context)
      : context_(context), tiling_(context.tiling) {}

  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    passes_.Init(arena, tiling_);
    const int32_t groups = tiling_.unit_n * tiling_.unit_g;
    const int32_t values = groups * tiling_.channel_pitch;
    packed_elems_ = RoundUpTo<kBlockLanes>(groups);
    // No sums of rows lie behind the scratch: the last repeat of a tree may look past its end.
    coefficients_ = arena.Take<float>(2 * packed_elems_ * kBlockLanes);
    vectors_ = arena.Take<float>(4 * values);
    channel_sums_ = vectors_;
    PlaceVectors(values);
    if (tiling_.S > 1) channel_blocks_ = arena.Take<float>(values * kBlockLanes);
    packed_ = arena.Take<float>(2 * packed_elems_);
    // Lanes between one group's channels and the next group's are read, and only the channels are
    // written.
    if (tiling_.S > 1 && tiling_.D != tiling_.channel_pitch) {
      AscendC::Duplicate(vectors_, 0.0f, 4 * values);
    }
    AscendC::Duplicate(packed_, 0.0f, 2 * packed_elems_);
    Order();
  }

  __aicore__ inline const Passes<T>& passes() const { return passes_; }

  // grad_input in place of grad_out, and the unit's sums a channel added to those of its window.
  __aicore__ inline void Compute(const TileUnit& unit, const LocalTensor<T>& grad_out,
                                 const LocalTensor<T>& input) {
    if (tiling_.S == 1) {
      ComputeLanes(unit, grad_out, input);
    } else {
      ComputeRows(unit, grad_out, input);
    }
  }

  // Compute in steps, for one float32 group of rows: input - mean, which needs no grad_out, then
  // the sums, then grad_input a few rows at a time.
  __aicore__ inline void CentreGroup(const TileUnit& unit, const LocalTensor<T>& input) {
    passes_.Centre(input, unit.mean, 1, tiling_.group_pitch, unit.step);
  }
  __aicore__ inline void SumGroup(const TileUnit& unit, const LocalTensor<T>& grad_out,
                                  const LocalTensor<T>& input) {
    const int32_t rows = static_cast<int32_t>(tiling_.D);
    if (rows == tiling_.channel_pitch) PlaceVectors(rows);
    SumUnit(1, grad_out, input, 0, rows);
    FinishSums(unit);
  }
  __aicore__ inline void GradientRows(const TileUnit& unit, const LocalTensor<T>& grad_out,
                                      const LocalTensor<T>& input, int32_t row, int32_t rows) {
    const int32_t at = row * tiling_.row_pitch;
    SecondPass(unit, 1, grad_out[at], input[at], row, rows, false);
  }

 private:
  // The sums of `values` channels and the vectors behind them without a gap.
  __aicore__ inline void PlaceVectors(int32_t values) {
    channels_apart_ = values;
    channel_products_ = vectors_[values];
    weighted_ = vectors_[2 * values];
  }

  // S = 1: a channel is a lane, so that its sums are the data itself and the weight is a vector
  // beside it.
  __aicore__ inline void ComputeLanes(const TileUnit& unit, const LocalTensor<T>& grad_out_data,
                                      const LocalTensor<T>& input_data) {
    const int32_t pitch = tiling_.channel_pitch;
    const int32_t count = unit.groups * pitch;
    const LocalTensor<float> grad_out = passes_.GradOut(grad_out_data);
    const LocalTensor<float> input = passes_.Input(input_data);
    ToFloat(grad_out, grad_out_data, count);
    if (context_.NeedProductSums()) {
      passes_.Centre(input_data, unit.mean, unit.groups, pitch, unit.step);
      BroadcastRows<MultiplyOp>(input, input, unit.rstd, unit.groups, pitch, unit.step);
    }
    Order();
    if (tiling_.want_bias) {
      FoldRowsInto<false>(channel_sums_, grad_out, grad_out, unit.n_count, unit.width);
      AscendC::Add(unit.sums, unit.sums, channel_sums_, unit.width);
    }
    if (tiling_.want_weight) {
      FoldRowsInto<true>(channel_products_, grad_out, input, unit.n_count, unit.width);
      AscendC::Add(unit.product_sums, unit.product_sums, channel_products_, unit.width);
    }
    Order();
    if (!tiling_.want_input) return;
    AscendC::Mul(grad_out, grad_out, unit.weight, count);
    Order();
    SumRows<false>(packed_, grad_out, grad_out, unit.groups, pitch, passes_.scratch,
                   passes_.scratch_elems, true);
    SumRows<true>(packed_[packed_elems_], grad_out, input, unit.groups, pitch, passes_.scratch,
                  passes_.scratch_elems, true);
    MakeCoefficients(unit, packed_elems_, true);
    BroadcastRows<ScaleShiftOp>(input, Scale(unit), coefficients_, unit.groups, pitch, 1);
    Order();
    BroadcastRows<ScaleAddOp>(grad_out, input, unit.rstd, unit.groups, pitch, unit.step);
    Order();
    FromFloat(grad_out_data, grad_out, count);
    Order();
  }

  __aicore__ inline LocalTensor<float> Scale(const TileUnit& unit) const {
    return coefficients_[unit.groups * kBlockLanes];
  }

  // The product sums start `apart` lanes behind the sums.
  __aicore__ inline void MakeCoefficients(const TileUnit& unit, int32_t apart,
                                          bool input_is_scaled) {
    AscendC::Muls(packed_, packed_, tiling_.neg_inv_group_elems, apart + unit.groups);
    Order();
    if (apart == unit.groups) {
      FillBlocks(coefficients_, packed_, 2 * unit.groups);
    } else {
      FillBlocks(coefficients_, packed_, unit.groups);
      Order();
      FillBlocks(Scale(unit), packed_[apart], unit.groups);
    }
    Order();
    SumsToCoefficients(coefficients_, unit.groups, unit.rstd, unit.step, input_is_scaled);
  }

  // S > 1: a channel is a row. 16-bit groups longer than the work buffers are taken a few rows at a
  // time, and converted again in the second pass.
  __aicore__ inline void ComputeRows(const TileUnit& unit, const LocalTensor<T>& grad_out_data,
                                     const LocalTensor<T>& input_data) {
    const int32_t rows = static_cast<int32_t>(tiling_.D);
    const int32_t at_once = kIsFloat<T> ? rows : MinOf(tiling_.work_rows, rows);
    const bool whole = at_once == rows;
    const int32_t groups = whole ? unit.groups : 1;
    if (rows == tiling_.channel_pitch) PlaceVectors(unit.groups * rows);
    for (int32_t row = 0; row < rows; row += at_once) {
      const int32_t count = MinOf(rows - row, at_once);
      const int32_t at = row * tiling_.row_pitch;
      FirstPass(unit, groups, grad_out_data[at], input_data[at], row, count);
    }
    FinishSums(unit);
    if (!tiling_.want_input) return;
    for (int32_t row = 0; row < rows; row += at_once) {
      const int32_t count = MinOf(rows - row, at_once);
      const int32_t at = row * tiling_.row_pitch;
      SecondPass(unit, groups, grad_out_data[at], input_data[at], row, count, !whole);
    }
  }

  __aicore__ inline void FirstPass(const TileUnit& unit, int32_t groups,
                                   const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                                   int32_t row, int32_t rows) {
    const int32_t group_elems = rows * tiling_.row_pitch;
    ToFloat(passes_.GradOut(grad_out), grad_out, groups * group_elems);
    if (context_.NeedProductSums()) {
      passes_.Centre(input, unit.mean, groups, group_elems, unit.step);
    } else {
      Order();
    }
    SumUnit(groups, grad_out, input, row, rows);
  }

  __aicore__ inline void SumUnit(int32_t groups, const LocalTensor<T>& grad_out,
                                 const LocalTensor<T>& input, int32_t row, int32_t rows) {
    const int32_t pitch = tiling_.row_pitch;
    const int32_t group_elems = rows * pitch;
    // Sums of all groups at once where one group's follow the other's without a gap.
    const bool joined = rows == tiling_.channel_pitch;
    const int32_t parts = joined ? 1 : groups;
    const int32_t part_rows = joined ? groups * rows : rows;
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t at = part * tiling_.channel_pitch + row;
      passes_.SumRowsOf(
          channel_sums_[at], channels_apart_, passes_.GradOut(grad_out)[part * group_elems],
          passes_.Input(input)[part * group_elems], part_rows, pitch, context_.NeedGradOutSums(),
          context_.NeedProductSums(), rows < tiling_.D, at % kBlockLanes == 0);
    }
  }

  // From sums a channel to this core's share of grad_bias and grad_weight and to the coefficients
  // of grad_input.
  __aicore__ inline void FinishSums(const TileUnit& unit) {
    const int32_t pitch = tiling_.channel_pitch;
    const int32_t count = unit.groups * pitch;
    if (context_.NeedProductSums()) {
      BroadcastRows<MultiplyOp>(channel_products_, channel_products_, unit.rstd, unit.groups, pitch,
                                unit.step);
      Order();
    }
    if (tiling_.want_input) {
      AscendC::Mul(weighted_, channel_sums_, unit.weight, count);
      AscendC::Mul(weighted_[count], channel_products_, unit.weight, count);
      Order();
      SumRows<false>(packed_, weighted_, weighted_, 2 * unit.groups, pitch, passes_.scratch,
                     passes_.scratch_elems, true);
      MakeCoefficients(unit, unit.groups, false);
      BroadcastRows<MultiplyOp>(weighted_, unit.weight, unit.rstd, unit.groups, pitch, unit.step);
      Order();
      FillBlocks(channel_blocks_, weighted_, count);
    }
    if (tiling_.want_bias) {
      FoldRows(channel_sums_, unit.n_count, unit.width);
      AscendC::Add(unit.sums, unit.sums, channel_sums_, unit.width);
    }
    if (tiling_.want_weight) {
      FoldRows(channel_products_, unit.n_count, unit.width);
      AscendC::Add(unit.product_sums, unit.product_sums, channel_products_, unit.width);
    }
    Order();
  }

  __aicore__ inline void SecondPass(const TileUnit& unit, int32_t groups,
                                    const LocalTensor<T>& grad_out_data,
                                    const LocalTensor<T>& input_data, int32_t row, int32_t rows,
                                    bool again) {
    const int32_t pitch = tiling_.row_pitch;
    const int32_t group_elems = rows * pitch;
    const LocalTensor<float> grad_out = passes_.GradOut(grad_out_data);
    const LocalTensor<float> input = passes_.Input(input_data);
    if (again) {
      ToFloat(grad_out, grad_out_data, groups * group_elems);
      passes_.Centre(input_data, unit.mean, groups, group_elems, unit.step);
    }
    BroadcastRows<ScaleShiftOp>(input, Scale(unit), coefficients_, groups, group_elems, 1);
    Order();
    const bool joined = rows == tiling_.channel_pitch;
    const int32_t parts = joined ? 1 : groups;
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t at = part * group_elems;
      const int32_t channel = part * tiling_.channel_pitch + row;
      BroadcastRows<ScaleAddOp>(grad_out[at], input[at], channel_blocks_[channel * kBlockLanes],
                                joined ? groups * rows : rows, pitch, 1);
    }
    Order();
    FromFloat(grad_out_data, grad_out, groups * group_elems);
    Order();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  Passes<T> passes_;
  // One value a channel; weighted_: one for the sums and one for the product sums.
  LocalTensor<float> vectors_, channel_sums_, channel_products_, weighted_;
  LocalTensor<float> channel_blocks_;         // one block a channel
  LocalTensor<float> packed_, coefficients_;  // one value, one block a group
  int32_t packed_elems_, channels_apart_;
};

}  // namespace group_norm_grad
