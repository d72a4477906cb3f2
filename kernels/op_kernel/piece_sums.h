// The arithmetic on one piece of a group, and the values a channel and a group that a walk over
// pieces keeps between them. The order of the pieces and their buffers are piece_walk.h's.
#pragma once

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
      : context_(context), tiling_(context.tiling), values_(context) {}

  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    passes_.Init(arena, tiling_);
    vectors_ = arena.Take<float>(2 * tiling_.vector_elems);
    channel_sums_ = vectors_;
    channel_products_ = vectors_[tiling_.vector_elems];
    part_sums_ = arena.Take<float>(2 * kMaxParts);
    group_sums_ = arena.Take<float>((tiling_.share_groups + 1) * kGroupSums);
    visit_sums_ = arena.Take<float>(kGroupSums);
    gathered_ = arena.Take<float>(tiling_.exchange_cores * 2 * kGroupSums);
    coefficients_ = arena.Take<float>(kLanes + kBlockLanes);
    if (!tiling_.weight_is_float) weight_staging_ = arena.Take<T>(tiling_.weight_staging_elems);
    values_.TakeBuffers(weight_staging_);
    AscendC::Duplicate(group_sums_, 0.0f, (tiling_.share_groups + 1) * kGroupSums);
    AscendC::Duplicate(visit_sums_, 0.0f, kGroupSums);
    Order();
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
    AscendC::Duplicate(vectors_, 0.0f, 2 * tiling_.vector_elems);
    Order();
    values_.OpenStatistics(cursor.group, false);
    if (!tiling_.want_input) return;
    values_.OpenWeight(
        cursor, tiling_.row_pieces > 1 ? 1 : MinOf(tiling_.D - cursor.row, tiling_.vector_elems));
  }

  // First pass over one piece.
  __aicore__ inline void Add(const PieceShape& shape, const LocalTensor<T>& grad_out,
                             const LocalTensor<T>& input) {
    const int32_t at_once = RowsAtOnce(shape);
    if (tiling_.S == 1) {
      AddLanes(shape, grad_out, input);
    } else if (at_once == 0) {
      for (int32_t row = 0; row < shape.rows; ++row) {
        AddRow(count_ + row, shape.pitch, grad_out[row * shape.pitch], input[row * shape.pitch]);
      }
    } else {
      for (int32_t row = 0; row < shape.rows; row += at_once) {
        AddRows(count_ + row, MinOf(shape.rows - row, at_once), shape.pitch,
                grad_out[row * shape.pitch], input[row * shape.pitch]);
      }
    }
    count_ += shape.values;
  }

  // Closes the visit, if there is one: its sums go to the workspace and into the group's.
  __aicore__ inline void FinishVisit() {
    if (!open_) return;
    open_ = false;
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
          channel_sums_, weight_staging_, tiling_.vector_elems, {1, count_, count, count_});
    }
  }

  __aicore__ inline void ClearGroup(int32_t index) {
    AscendC::Duplicate(group_sums(index), 0.0f, kGroupSums);
    Order();
  }

  __aicore__ inline void MakeCoefficients(int64_t group, const LocalTensor<float>& sums) {
    AscendC::Muls(visit_sums_, sums, tiling_.neg_inv_group_elems, kGroupSums);
    Order();
    FillBlocks(coefficients_, visit_sums_, 1);
    Order();
    FillBlocks(coefficients_[kBlockLanes], visit_sums_[kBlockLanes], 1);
    Order();
    SumsToCoefficients(coefficients_, 1, values_.Rstd(group), 1, false);
    if constexpr (!kIsFloat<T>) UncentreShift(coefficients_, values_.Mean(group));
  }

  // Second pass over one piece: grad_input in place of grad_out. `reloaded`: the first pass's work
  // is gone.
  __aicore__ inline void Apply(const PieceCursor& cursor, const PieceShape& shape,
                               const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                               bool reloaded) {
    values_.OpenScaledWeight(cursor, shape.values);
    const int32_t at_once = RowsAtOnce(shape) > 0 ? RowsAtOnce(shape) : 1;
    const int32_t width = at_once * shape.pitch;
    const int32_t part = RowsAtOnce(shape) > 0 ? width : tiling_.work_elems;
    for (int32_t row = 0; row < shape.rows; row += at_once) {
      const int32_t rows = MinOf(shape.rows - row, at_once);
      for (int32_t at = 0; at < width; at += part) {
        const int32_t start = row * shape.pitch + at;
        ApplyRows(grad_out[start], input[start], cursor.group, row, rows,
                  MinOf(width - at, part) / at_once, reloaded);
      }
    }
  }

 private:
  // Rows that the float32 views hold at once; 0: not even one.
  __aicore__ inline int32_t RowsAtOnce(const PieceShape& shape) const {
    if (kIsFloat<T> || shape.rows * shape.pitch <= tiling_.work_elems) return shape.rows;
    return tiling_.work_rows;
  }

  __aicore__ inline void Convert(const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                                 int32_t count) {
    ToFloat(passes_.GradOut(grad_out), grad_out, count);
    if (context_.NeedProductSums()) {
      passes_.Centre(input, values_.Mean(visit_.group), 1, count, 1);
    } else {
      Order();
    }
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
    passes_.SumRowsOf(channel_sums_[value], tiling_.vector_elems, passes_.GradOut(grad_out),
                      passes_.Input(input), rows, pitch, context_.NeedGradOutSums(),
                      context_.NeedProductSums(), true, value % kBlockLanes == 0);
  }

  // One row, or a part of it, that does not fit in the float32 views.
  __aicore__ inline void AddRow(int32_t value, int32_t pitch, const LocalTensor<T>& grad_out,
                                const LocalTensor<T>& input) {
    const LocalTensor<float> products = part_sums_[kMaxParts];
    int32_t parts = 0;
    for (int32_t at = 0; at < pitch; at += tiling_.work_elems) {
      const int32_t count = MinOf(pitch - at, tiling_.work_elems);
      Convert(grad_out[at], input[at], count);
      passes_.SumRowsOf(part_sums_[parts], kMaxParts, passes_.GradOut(grad_out[at]),
                        passes_.Input(input[at]), 1, count, context_.NeedGradOutSums(),
                        context_.NeedProductSums(), true, false);
      ++parts;
    }
    if (context_.NeedGradOutSums() && context_.NeedProductSums()) {
      AscendC::WholeReduceSum(channel_sums_[value], part_sums_, parts, 2, tiling_.vector_elems, 1,
                              kMaxParts / kBlockLanes);
    } else if (context_.NeedGradOutSums()) {
      AscendC::WholeReduceSum(channel_sums_[value], part_sums_, parts, 1, 1, 1, kBlockLanes);
    } else {
      AscendC::WholeReduceSum(channel_products_[value], products, parts, 1, 1, 1, kBlockLanes);
    }
    Order();
  }

  __aicore__ inline void AddToGroup(int32_t count) {
    const LocalTensor<float> products = visit_sums_[kBlockLanes];
    const LocalTensor<float> group = group_sums(static_cast<int32_t>(visit_.group - first_group_));
    const int32_t at = values_.WeightAt(visit_);
    if (tiling_.row_pieces > 1) {
      SumRows<false>(visit_sums_, channel_sums_, channel_sums_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      SumRows<false>(products, channel_products_, channel_products_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      BroadcastRows<MultiplyOp>(visit_sums_, visit_sums_, values_.WeightBlocks(visit_), 1,
                                kGroupSums, 1);
      Order();
    } else if (at % kBlockLanes == 0) {
      const LocalTensor<float> weight = values_.weight()[at];
      SumRows<true>(visit_sums_, channel_sums_, weight, 1, count, passes_.scratch,
                    passes_.scratch_elems, true);
      SumRows<true>(products, channel_products_, weight, 1, count, passes_.scratch,
                    passes_.scratch_elems, true);
    } else {
      const LocalTensor<float> weight = values_.WeightBlocks(visit_);
      AscendC::Duplicate(visit_sums_, 0.0f, kGroupSums);
      Order();
      SumWeighted(visit_sums_, channel_sums_, weight);
      SumWeighted(products, channel_products_, weight);
    }
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
                                   int32_t rows, int32_t pitch, bool reloaded) {
    const int32_t count = rows * pitch;
    const LocalTensor<float> grad_out = passes_.GradOut(grad_out_data);
    const LocalTensor<float> input = passes_.Input(input_data);
    if constexpr (!kIsFloat<T>) {
      ToFloat(grad_out, grad_out_data, count);
      ToFloat(input, input_data, count);
      Order();
    } else if (reloaded) {
      passes_.Centre(input_data, values_.Mean(group), 1, count, 1);
    }
    BroadcastRows<ScaleShiftOp>(input, coefficients_[kBlockLanes], coefficients_, 1, count, 1);
    Order();
    if (tiling_.S == 1) {
      AscendC::FusedMulAdd(grad_out, values_.ScaledWeight(row), input, count);
    } else {
      BroadcastRows<ScaleAddOp>(grad_out, input, values_.ScaledWeightBlocks(row), rows, pitch, 1);
    }
    Order();
    FromFloat(grad_out_data, grad_out, count);
    Order();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  PieceValues<T> values_;
  Passes<T> passes_;
  LocalTensor<float> vectors_, channel_sums_, channel_products_;
  LocalTensor<float> part_sums_, group_sums_, visit_sums_, gathered_, coefficients_;
  LocalTensor<T> weight_staging_;
  PieceCursor visit_{-1, 0, 0};
  bool open_ = false;
  int32_t count_ = 0;  // values of the visit so far
  int64_t first_group_ = 0;
};

}  // namespace group_norm_grad
