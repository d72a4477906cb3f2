// The arithmetic on one piece of a group, and the values a channel and a group that a walk over
// pieces keeps between them. The order of the pieces and their buffers are piece_walk.h's.
#pragma once

#include "piece_trees.h"
#include "piece_values.h"

namespace group_norm_grad {

struct PieceShape {
  int32_t values;  // sums a channel that the piece has
  int32_t rows, cols, pitch;
};

template <class T>
class PieceSums {
 public:
  __aicore__ inline explicit PieceSums(Context<T>& context)
      : context_(context), tiling_(context.tiling), values_(context), trees_(context) {}

  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    passes_.Init(arena, tiling_);
    // No sums of rows lie behind the scratch: the last repeat of a tree may look past its end.
    coefficients_ = arena.Take<float>(2 * kLanes);
    shift_ = coefficients_;
    scale_ = coefficients_[kLanes];
    vectors_ = arena.Take<float>(2 * tiling_.vector_elems);
    channel_sums_ = vectors_;
    // Without a gap where a group's values are whole blocks and all there is.
    channels_apart_ = tiling_.S > 1 && OneVisit() && tiling_.D % kBlockLanes == 0
                          ? static_cast<int32_t>(tiling_.D)
                          : tiling_.vector_elems;
    channel_products_ = vectors_[channels_apart_];
    group_sums_ = arena.Take<float>((tiling_.share_groups + 1) * kGroupSums);
    visit_sums_ = arena.Take<float>(kGroupSums);
    gathered_ = arena.Take<float>(tiling_.exchange_cores * 2 * kGroupSums);
    if (!tiling_.weight_is_float) weight_staging_ = arena.Take<T>(tiling_.weight_staging_elems);
    values_.TakeBuffers(weight_staging_);
    AscendC::Duplicate(group_sums_, 0.0f, (tiling_.share_groups + 1) * kGroupSums);
    AscendC::Duplicate(visit_sums_, 0.0f, kGroupSums);
    trees_.Init(passes_, context_.NeedGradOutSums() ? channel_sums_ : channel_products_,
                channels_apart_);
    ClearVectors();
  }

  // The sums of the core's index-th dealt group, or behind them of the one that it has as a whole.
  __aicore__ inline LocalTensor<float> group_sums(int32_t index) const {
    return group_sums_[index * kGroupSums];
  }
  __aicore__ inline const LocalTensor<float>& gathered() const { return gathered_; }
  __aicore__ inline PieceValues<T>& values() { return values_; }

  // From here on the sums of `group` go to group_sums(index), the next group's behind them.
  __aicore__ inline void StartGroups(int64_t group, int32_t index) { first_group_ = group - index; }

  __aicore__ inline PieceShape ShapeOf(const PieceCursor& cursor) const {
    if (tiling_.row_pieces > 1) {
      const int32_t cols =
          MinOf(tiling_.S - cursor.piece * tiling_.piece_elems, tiling_.piece_elems);
      return {1, 1, cols, RoundUpTo<kBlockOf<T>>(cols)};
    }
    const int32_t rows = MinOf(tiling_.D - cursor.row, tiling_.piece_rows);
    if (tiling_.S == 1) return {rows, 1, rows, RoundUpTo<kBlockOf<T>>(rows)};
    return {rows, rows, static_cast<int32_t>(tiling_.S), tiling_.row_pitch};
  }

  // Some of a piece's rows.
  __aicore__ inline PieceShape RowsOf(const PieceShape& shape, int32_t rows) const {
    return rows == shape.rows ? shape : PieceShape{rows, rows, shape.cols, shape.pitch};
  }

  __aicore__ inline RowShape MoveOf(const PieceShape& shape) const {
    return {shape.rows, shape.cols, shape.pitch, shape.cols};
  }

  __aicore__ inline int64_t OffsetOf(const PieceCursor& cursor) const {
    return (cursor.group * tiling_.D + cursor.row) * tiling_.S + cursor.piece * tiling_.piece_elems;
  }

  // A visit is a run of pieces whose sums a channel are in the unified buffer together: rows of one
  // group, or parts of one row.
  __aicore__ inline bool StartsVisit(const PieceCursor& cursor, const PieceShape& shape) const {
    return !open_ || cursor.group != visit_.group || count_ + shape.values > tiling_.vector_elems ||
           (tiling_.row_pieces > 1 && cursor.row != visit_.row);
  }

  __aicore__ inline void StartVisit(const PieceCursor& cursor) {
    open_ = true;
    visit_ = cursor;
    count_ = 0;
    context_.courier.Reclaim();
    if (!SumsByMask()) ClearVectors();
    values_.OpenStatistics(cursor.group, false);
    if (!tiling_.want_input) return;
    values_.OpenWeight(
        cursor, tiling_.row_pieces > 1 ? 1 : MinOf(tiling_.D - cursor.row, tiling_.vector_elems));
  }

  // First pass over one piece. `release`: of its slot.
  __aicore__ inline void Add(const PieceShape& shape, const LocalTensor<T>& grad_out,
                             const LocalTensor<T>& input, const Release& release) {
    const int32_t at_once = RowsAtOnce(shape);
    if (tiling_.S == 1) {
      AddLanes(shape, grad_out, input);
      release.Set();
    } else if (!kIsFloat<T> && tiling_.tree_lanes > 0) {
      if constexpr (!kIsFloat<T>) {
        trees_.Add(count_, shape.rows, shape.pitch, at_once, grad_out, input,
                   values_.Mean(visit_.group), release);
      }
    } else {
      for (int32_t row = 0; row < shape.rows; row += at_once) {
        AddRows(count_ + row, MinOf(shape.rows - row, at_once), shape.pitch,
                grad_out[row * shape.pitch], input[row * shape.pitch]);
      }
      release.Set();
    }
    count_ += shape.values;
  }

  // Closes the visit, if there is one: its sums go to the workspace and into the group's.
  __aicore__ inline void FinishVisit() {
    if (!open_) return;
    open_ = false;
    if constexpr (!kIsFloat<T>) trees_.Finish();
    const int32_t count = RoundUpTo<kBlockLanes>(count_);
    if (context_.NeedProductSums()) {
      BroadcastRows<MultiplyOp>(channel_products_, channel_products_, values_.Rstd(visit_.group), 1,
                                count, 1);
      Order();
    }
    if (tiling_.want_input) AddToGroup(count);
    if (context_.WantSums()) {
      context_.StoreSums(
          (visit_.group * tiling_.D + visit_.row) * tiling_.row_pieces + visit_.piece,
          channel_sums_, weight_staging_, channels_apart_, {1, count_, count, count_});
    }
  }

  __aicore__ inline void ClearGroup(int32_t index) {
    if (OneVisit()) return;
    AscendC::Duplicate(group_sums(index), 0.0f, kGroupSums);
    Order();
  }

  // From the sums a group, one block each, of weight * grad_out and of weight * grad_out * xhat, to
  //   shift = -rstd / M * sum   and   scale = -rstd^2 / M * product_sum,
  // so that grad_input = weight * rstd * grad_out + scale * (input - mean) + shift. 16-bit input is
  // not centred again: its own rounding is 2^12 times that of scale * input in float32.
  __aicore__ inline void MakeCoefficients(int64_t group, const LocalTensor<float>& sums) {
    FillBlocks(coefficients_, sums, kGroupSums);
    Order();
    AscendC::Mul(coefficients_, coefficients_, values_.Factors(group), 2 * kBlockLanes, 1,
                 BinaryRepeatParams(kBlockLanes, kBlockLanes, kStatisticsWindow, 0, 0, 0));
    Order();
    if constexpr (!kIsFloat<T>) {
      const LocalTensor<float> product = coefficients_[kBlockLanes];
      AscendC::Mul(product, scale_, values_.Mean(group), kBlockLanes);
      Order();
      AscendC::Sub(shift_, shift_, product, kBlockLanes);
      Order();
    }
  }

  // Second pass over one piece: grad_input in place of grad_out. `reloaded`: the first pass's work
  // is gone.
  __aicore__ inline void Apply(const PieceCursor& cursor, const PieceShape& shape,
                               const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                               bool reloaded, const Release& release) {
    values_.OpenScaledWeight(cursor, shape.values);
    const int32_t at_once = RowsAtOnce(shape) > 0 ? RowsAtOnce(shape) : 1;
    const int32_t width = at_once * shape.pitch;
    const int32_t part = RowsAtOnce(shape) > 0 ? width : tiling_.work_elems;
    for (int32_t row = 0; row < shape.rows; row += at_once) {
      const int32_t rows = MinOf(shape.rows - row, at_once);
      for (int32_t at = 0; at < width; at += part) {
        const int32_t start = row * shape.pitch + at;
        const bool last = row + rows == shape.rows && at + part >= width;
        ApplyRows(grad_out[start], input[start], cursor.group, row, rows,
                  MinOf(width - at, part) / at_once, reloaded, last ? release : Release{});
      }
    }
  }

 private:
  __aicore__ inline void ClearVectors() {
    AscendC::Duplicate(vectors_, 0.0f, 2 * tiling_.vector_elems);
    Order();
  }

  // Whether AddToGroup leaves out lanes behind the visit's values, so that they need not be zero.
  __aicore__ inline bool SumsByMask() const {
    return tiling_.row_pieces == 1 && tiling_.vector_elems <= kLanes;
  }
  // Whether the core's rows of a group are always one visit.
  __aicore__ inline bool OneVisit() const {
    return tiling_.row_pieces == 1 && tiling_.D <= tiling_.vector_elems;
  }

  // Rows that the float32 views hold at once; 0: not even one.
  __aicore__ inline int32_t RowsAtOnce(const PieceShape& shape) const {
    if (kIsFloat<T> || shape.rows * shape.pitch <= tiling_.work_elems) return shape.rows;
    return tiling_.work_rows;
  }

  // The copy of the input comes first: a second pass may still read that of grad_out.
  __aicore__ inline void Convert(const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                                 int32_t count) {
    if (context_.NeedProductSums()) {
      const LocalTensor<float> copy = passes_.Input(input);
      if constexpr (!kIsFloat<T>) {
        ToFloat(copy, input, count);
        Order();
      }
      BroadcastRows<SubtractOp>(copy, copy, values_.Mean(visit_.group), 1, count, 1);
    }
    ToFloat(passes_.GradOut(grad_out), grad_out, count);
    Order();
  }

  __aicore__ inline void AddLanes(const PieceShape& shape, const LocalTensor<T>& grad_out,
                                  const LocalTensor<T>& input) {
    Convert(grad_out, input, shape.pitch);
    const LocalTensor<float> values = passes_.GradOut(grad_out);
    if (context_.NeedGradOutSums()) {
      AscendC::Adds(channel_sums_[count_], values, 0.0f, shape.pitch);
    }
    if (context_.NeedProductSums()) {
      AscendC::Mul(channel_products_[count_], values, passes_.Input(input), shape.pitch);
    }
    Order();
  }

  __aicore__ inline void AddRows(int32_t value, int32_t rows, int32_t pitch,
                                 const LocalTensor<T>& grad_out, const LocalTensor<T>& input) {
    Convert(grad_out, input, rows * pitch);
    passes_.SumRowsOf(channel_sums_[value], channels_apart_, passes_.GradOut(grad_out),
                      passes_.Input(input), rows, pitch, context_.NeedGradOutSums(),
                      context_.NeedProductSums(), true, value % kBlockLanes == 0);
  }

  __aicore__ inline void AddToGroup(int32_t count) {
    const LocalTensor<float> group = group_sums(static_cast<int32_t>(visit_.group - first_group_));
    const LocalTensor<float>& total = OneVisit() ? group : visit_sums_;
    const LocalTensor<float> products = total[kBlockLanes];
    const int32_t at = values_.WeightAt(visit_);
    if (tiling_.row_pieces > 1) {
      SumRows<false>(total, channel_sums_, channel_sums_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      SumRows<false>(products, channel_products_, channel_products_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      BroadcastRows<MultiplyOp>(total, total, values_.WeightBlocks(visit_), 1, kGroupSums, 1);
      Order();
    } else if (at % kBlockLanes == 0 && tiling_.vector_elems <= kLanes) {
      const int32_t stride = channels_apart_ / kBlockLanes;
      AscendC::Mul(passes_.scratch, vectors_, values_.weight()[at], count_, 2,
                   BinaryRepeatParams(1, 1, 1, kBlockLanes, stride, 0));
      Order();
      AscendC::WholeReduceSum(total, passes_.scratch, count_, 2, kBlockLanes, 1, kBlockLanes);
      Order();
    } else if (at % kBlockLanes == 0) {
      const LocalTensor<float> weight = values_.weight()[at];
      SumRows<true>(total, channel_sums_, weight, 1, count, passes_.scratch, passes_.scratch_elems,
                    true);
      SumRows<true>(products, channel_products_, weight, 1, count, passes_.scratch,
                    passes_.scratch_elems, true);
    } else {
      const LocalTensor<float> weight = values_.WeightBlocks(visit_);
      AscendC::Duplicate(total, 0.0f, kGroupSums);
      Order();
      SumWeighted(total, channel_sums_, weight);
      SumWeighted(products, channel_products_, weight);
    }
    if (OneVisit()) return;
    AscendC::Add(group, group, visit_sums_, kGroupSums);
    Order();
  }

  // Adds the visit's sums times the weight to the first lane of `total`, both taken as one block a
  // channel: the weight of the visit's first row does not start on a block.
  __aicore__ inline void SumWeighted(const LocalTensor<float>& total,
                                     const LocalTensor<float>& sums,
                                     const LocalTensor<float>& weight) const {
    const LocalTensor<float>& blocks = passes_.scratch;
    const int32_t batch = passes_.scratch_elems / kLanes * kBlockLanes;
    for (int32_t row = 0; row < count_; row += batch) {
      const int32_t rows = MinOf(count_ - row, batch);
      FillBlocks(blocks, sums[row], rows);
      Order();
      AscendC::Mul(blocks, blocks, weight[row * kBlockLanes], rows * kBlockLanes);
      Order();
      FoldRows(blocks, rows, kBlockLanes);
      AscendC::Add(total, total, blocks, 1);
      Order();
    }
  }

  __aicore__ inline void ApplyRows(const LocalTensor<T>& grad_out_data,
                                   const LocalTensor<T>& input_data, int64_t group, int32_t row,
                                   int32_t rows, int32_t pitch, bool reloaded,
                                   const Release& release) {
    const int32_t count = rows * pitch;
    const LocalTensor<float> grad_out = passes_.GradOut(grad_out_data);
    const LocalTensor<float> input = passes_.Input(input_data);
    if constexpr (!kIsFloat<T>) {
      ToFloat(input, input_data, count);
      Order();
    } else if (reloaded) {
      passes_.Centre(input_data, values_.Mean(group), 1, count, 1);
    }
    ToFloat(grad_out, grad_out_data, count);
    if constexpr (!kIsFloat<T>) release.Set();
    BroadcastRows<ScaleShiftOp>(input, scale_, shift_, 1, count, 1);
    Order();
    if (tiling_.S == 1) {
      AscendC::FusedMulAdd(grad_out, values_.ScaledWeight(row), input, count);
    } else {
      BroadcastRows<ScaleAddOp>(grad_out, input, values_.ScaledWeightBlocks(row), rows, pitch, 1);
    }
    Order();
    FromFloat(grad_out_data, grad_out, count);
    if constexpr (kIsFloat<T>) release.Set();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  PieceValues<T> values_;
  Passes<T> passes_;
  PieceTrees<T> trees_;
  LocalTensor<float> vectors_, channel_sums_, channel_products_;
  int32_t channels_apart_;
  LocalTensor<float> group_sums_, visit_sums_, gathered_;
  LocalTensor<float> coefficients_, shift_, scale_;  // one block each
  LocalTensor<T> weight_staging_;
  PieceCursor visit_{-1, 0, 0};
  bool open_ = false;
  int32_t count_ = 0;  // values of the visit so far
  int64_t first_group_ = 0;
};

}  // namespace group_norm_grad
