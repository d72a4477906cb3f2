// The arithmetic on one piece of a group, and the values a channel and a group that a walk over
// pieces keeps between them. The order of the pieces and their buffers are piece_walk.h's.
#pragma once

#include "context.h"

namespace group_norm_grad {

// Where a piece starts: `row` is a channel of the group, `piece` a part of that row.
struct PieceCursor {
  int64_t group, row, piece;
};

struct PieceShape {
  int32_t values;  // sums a channel that the piece has
  int32_t rows, cols, pitch;
};

template <class T>
class PieceSums {
 public:
  __aicore__ inline explicit PieceSums(Context<T>& context)
      : context_(context), tiling_(context.tiling) {}

  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    const int32_t values = tiling_.vector_elems;
    passes_.Init(arena, tiling_);
    vectors_ = arena.Take<float>(4 * values);
    channel_sums_ = vectors_;
    channel_products_ = vectors_[values];
    weight_ = vectors_[2 * values];
    scaled_weight_ = vectors_[3 * values];
    if (tiling_.S > 1) channel_blocks_ = arena.Take<float>(values * kBlockLanes);
    part_sums_ = arena.Take<float>(2 * kMaxParts);
    group_sums_ = arena.Take<float>(tiling_.share_groups * kGroupSums);
    visit_sums_ = arena.Take<float>(kGroupSums);
    gathered_ = arena.Take<float>(tiling_.exchange_cores * 2 * kGroupSums);
    coefficients_ = arena.Take<float>(kLanes + kBlockLanes);
    statistics_ = arena.Take<float>(2 * kStatisticsWindow);
    mean_ = arena.Take<float>(kStatisticsWindow * kBlockLanes);
    rstd_ = arena.Take<float>(kStatisticsWindow * kBlockLanes);
    if (!tiling_.stat_is_float) statistics_staging_ = arena.Take<T>(2 * kStatisticsWindow);
    if (!tiling_.weight_is_float) weight_staging_ = arena.Take<T>(2 * values);
    AscendC::Duplicate(vectors_, 0.0f, 2 * values);
    AscendC::Duplicate(weight_, 1.0f, 2 * values);
    AscendC::Duplicate(group_sums_, 0.0f, tiling_.share_groups * kGroupSums);
    AscendC::Duplicate(visit_sums_, 0.0f, kGroupSums);
    Order();
  }

  // The sums of the core's index-th group.
  __aicore__ inline LocalTensor<float> group_sums(int32_t index) const {
    return group_sums_[index * kGroupSums];
  }
  __aicore__ inline const LocalTensor<float>& gathered() const { return gathered_; }

  // Sums go to the core's first group from here on, and to the next when the group changes.
  __aicore__ inline void StartGroups(int64_t first_group) { first_group_ = first_group; }

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
    OpenStatistics(cursor.group, false);
    if (!tiling_.want_input) return;
    // Sums of rows meet the weight lane by lane, so that the visit's first row must be on a block
    // of the buffer.
    const int64_t row = cursor.group * tiling_.D + cursor.row;
    const int32_t rows =
        tiling_.row_pieces > 1 ? 1 : MinOf(tiling_.D - cursor.row, tiling_.vector_elems);
    const bool aligned = tiling_.row_pieces > 1 || WeightAt(row) % kBlockLanes == 0;
    if (!HasWeight(row, rows) || !aligned) OpenWeight(row);
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
      BroadcastRows<MultiplyOp>(channel_products_, channel_products_, Rstd(visit_.group), 1, count,
                                1);
      Order();
    }
    if (tiling_.want_input) AddToGroup(count);
    if (context_.WantSums()) {
      context_.StoreSums(
          (visit_.group * tiling_.D + visit_.row) * tiling_.row_pieces + visit_.piece,
          channel_sums_, weight_staging_, tiling_.vector_elems, {1, count_, count, count_});
    }
  }

  __aicore__ inline void ClearGroup() {
    AscendC::Duplicate(group_sums_, 0.0f, kGroupSums);
    Order();
  }

  // Mean and rstd of a window of groups that starts, or when walking backwards ends, with this one.
  __aicore__ inline void OpenStatistics(int64_t group, bool backwards) {
    if (!context_.NeedProductSums()) return;
    if (group >= statistics_first_ && group < statistics_first_ + statistics_count_) return;
    const int64_t groups = tiling_.N * tiling_.G;
    statistics_first_ = group;
    if (backwards) {
      statistics_first_ = group < kStatisticsWindow ? 0 : group - kStatisticsWindow + 1;
    }
    statistics_count_ = MinOf(groups - statistics_first_, kStatisticsWindow);
    const LocalTensor<float> rstd = statistics_[kStatisticsWindow];
    const LocalTensor<T> rstd_staging =
        tiling_.stat_is_float ? statistics_staging_ : statistics_staging_[kStatisticsWindow];
    const RowShape shape{1, statistics_count_, statistics_count_, statistics_count_};
    const int32_t count = RoundUpTo<kBlockLanes>(statistics_count_);
    context_.courier.BeforeLoad();
    context_.mean.Load(statistics_, statistics_staging_, statistics_first_, shape);
    context_.rstd.Load(rstd, rstd_staging, statistics_first_, shape);
    context_.courier.AfterLoad();
    context_.mean.Widen(statistics_, statistics_staging_, count);
    context_.rstd.Widen(rstd, rstd_staging, count);
    Order();
    FillBlocks(mean_, statistics_, count);
    FillBlocks(rstd_, rstd, count);
    Order();
  }

  __aicore__ inline void MakeCoefficients(int64_t group, const LocalTensor<float>& sums) {
    AscendC::Muls(visit_sums_, sums, tiling_.neg_inv_group_elems, kGroupSums);
    Order();
    FillBlocks(coefficients_, visit_sums_, 1);
    Order();
    FillBlocks(coefficients_[kBlockLanes], visit_sums_[kBlockLanes], 1);
    Order();
    SumsToCoefficients(coefficients_, 1, Rstd(group), 1, false);
    if constexpr (!kIsFloat<T>) UncentreShift(coefficients_, Mean(group));
  }

  // weight * rstd of the piece's channels. The window ends with the piece, because the walk goes
  // backwards.
  __aicore__ inline void OpenScaledWeight(const PieceCursor& cursor, const PieceShape& shape) {
    const int64_t row = cursor.group * tiling_.D + cursor.row;
    if (!HasWeight(row, shape.values)) {
      const int64_t all = row - row % tiling_.C;  // the first row of this n
      const int64_t end = row + shape.values - tiling_.vector_elems;
      OpenWeight(tiling_.S == 1 ? row : (end > all ? end : all));
    }
    if (blocks_ == Blocks::kScaledWeight && scaled_group_ == cursor.group) return;
    blocks_ = Blocks::kScaledWeight;
    scaled_group_ = cursor.group;
    const int32_t count = RoundUpTo<kBlockLanes>(weight_count_);
    BroadcastRows<MultiplyOp>(scaled_weight_, weight_, Rstd(cursor.group), 1, count, 1);
    Order();
    if (tiling_.S > 1) FillBlocks(channel_blocks_, scaled_weight_, count);
    Order();
  }

  // Second pass over one piece: grad_input in place of grad_out. `reloaded`: the first pass's work
  // is gone.
  __aicore__ inline void Apply(const PieceCursor& cursor, const PieceShape& shape,
                               const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                               bool reloaded) {
    const int32_t channel = WeightAt(cursor.group * tiling_.D + cursor.row);
    const int32_t at_once = RowsAtOnce(shape) > 0 ? RowsAtOnce(shape) : 1;
    const int32_t width = at_once * shape.pitch;
    const int32_t part = RowsAtOnce(shape) > 0 ? width : tiling_.work_elems;
    for (int32_t row = 0; row < shape.rows; row += at_once) {
      const int32_t rows = MinOf(shape.rows - row, at_once);
      for (int32_t at = 0; at < width; at += part) {
        const int32_t start = row * shape.pitch + at;
        ApplyRows(grad_out[start], input[start], channel + row, rows,
                  MinOf(width - at, part) / at_once, reloaded);
      }
    }
  }

 private:
  enum class Blocks : uint8_t { kNone, kWeight, kScaledWeight };

  __aicore__ inline LocalTensor<float> Mean(int64_t group) const {
    return mean_[static_cast<int32_t>(group - statistics_first_) * kBlockLanes];
  }
  __aicore__ inline LocalTensor<float> Rstd(int64_t group) const {
    return rstd_[static_cast<int32_t>(group - statistics_first_) * kBlockLanes];
  }

  // Rows that the float32 views hold at once; 0: not even one.
  __aicore__ inline int32_t RowsAtOnce(const PieceShape& shape) const {
    if (kIsFloat<T> || shape.rows * shape.pitch <= tiling_.work_elems) return shape.rows;
    return tiling_.work_rows;
  }

  __aicore__ inline void Convert(const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                                 int32_t count) {
    ToFloat(passes_.GradOut(grad_out), grad_out, count);
    if (context_.NeedProductSums()) {
      passes_.Centre(input, Mean(visit_.group), 1, count, 1);
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
    if (context_.NeedGradOutSums()) {
      AscendC::WholeReduceSum(channel_sums_[value], part_sums_, parts, 1, 1, 1, kBlockLanes);
    }
    if (context_.NeedProductSums()) {
      AscendC::WholeReduceSum(channel_products_[value], products, parts, 1, 1, 1, kBlockLanes);
    }
    Order();
  }

  __aicore__ inline void AddToGroup(int32_t count) {
    const LocalTensor<float> products = visit_sums_[kBlockLanes];
    const LocalTensor<float> group = group_sums(static_cast<int32_t>(visit_.group - first_group_));
    const int32_t at = WeightAt(visit_.group * tiling_.D + visit_.row);
    if (tiling_.row_pieces == 1) {
      SumRows<true>(visit_sums_, channel_sums_, weight_[at], 1, count, passes_.scratch,
                    passes_.scratch_elems, true);
      SumRows<true>(products, channel_products_, weight_[at], 1, count, passes_.scratch,
                    passes_.scratch_elems, true);
    } else {
      SumRows<false>(visit_sums_, channel_sums_, channel_sums_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      SumRows<false>(products, channel_products_, channel_products_, 1, count, passes_.scratch,
                     passes_.scratch_elems, true);
      if (blocks_ != Blocks::kWeight) {
        blocks_ = Blocks::kWeight;
        FillBlocks(channel_blocks_, weight_, RoundUpTo<kBlockLanes>(weight_count_));
        Order();
      }
      BroadcastRows<MultiplyOp>(visit_sums_, visit_sums_, channel_blocks_[at * kBlockLanes], 1,
                                kGroupSums, 1);
      Order();
    }
    AscendC::Add(group, group, visit_sums_, kGroupSums);
    Order();
  }

  // Rows are numbered through all groups, and so through all n, as in global memory.
  __aicore__ inline bool HasWeight(int64_t row, int32_t rows) const {
    return row >= weight_row_ && row + rows <= weight_row_ + weight_count_;
  }
  __aicore__ inline int32_t WeightAt(int64_t row) const {
    return static_cast<int32_t>(row - weight_row_);
  }

  // The weight of the channels from `row` on, as many as the buffer holds and this n still has.
  __aicore__ inline void OpenWeight(int64_t row) {
    const int64_t channel = row % tiling_.C;
    weight_row_ = row;
    weight_count_ = MinOf(tiling_.C - channel, tiling_.vector_elems);
    blocks_ = Blocks::kNone;
    if (!tiling_.has_weight) return;
    const RowShape shape{1, weight_count_, weight_count_, weight_count_};
    context_.courier.Reclaim();  // the staging buffer may be on its way out
    context_.courier.BeforeLoad();
    context_.weight.Load(weight_, weight_staging_, channel, shape);
    context_.courier.AfterLoad();
    context_.weight.Widen(weight_, weight_staging_, RoundUpTo<kBlockLanes>(weight_count_));
    Order();
  }

  __aicore__ inline void ApplyRows(const LocalTensor<T>& grad_out_data,
                                   const LocalTensor<T>& input_data, int32_t channel, int32_t rows,
                                   int32_t pitch, bool reloaded) {
    const int32_t count = rows * pitch;
    const LocalTensor<float> grad_out = passes_.GradOut(grad_out_data);
    const LocalTensor<float> input = passes_.Input(input_data);
    if constexpr (!kIsFloat<T>) {
      ToFloat(grad_out, grad_out_data, count);
      ToFloat(input, input_data, count);
      Order();
    } else if (reloaded) {
      passes_.Centre(input_data, Mean(scaled_group_), 1, count, 1);
    }
    BroadcastRows<ScaleShiftOp>(input, coefficients_[kBlockLanes], coefficients_, 1, count, 1);
    Order();
    if (tiling_.S == 1) {
      AscendC::FusedMulAdd(grad_out, scaled_weight_[channel], input, count);
    } else {
      BroadcastRows<ScaleAddOp>(grad_out, input, channel_blocks_[channel * kBlockLanes], rows,
                                pitch, 1);
    }
    Order();
    FromFloat(grad_out_data, grad_out, count);
    Order();
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  Passes<T> passes_;
  LocalTensor<float> vectors_, channel_sums_, channel_products_, weight_, scaled_weight_;
  LocalTensor<float> channel_blocks_;  // one block a channel: the weight, or the weight times rstd
  LocalTensor<float> part_sums_, group_sums_, visit_sums_, gathered_, coefficients_;
  LocalTensor<float> statistics_, mean_, rstd_;
  LocalTensor<T> statistics_staging_, weight_staging_;
  PieceCursor visit_{-1, 0, 0};
  bool open_ = false;
  int32_t count_ = 0;  // values of the visit so far
  int64_t statistics_first_ = 0;
  int32_t statistics_count_ = 0;
  int64_t first_group_ = 0;
  int64_t scaled_group_ = -1;
  int64_t weight_row_ = 0;
  int32_t weight_count_ = 0;
  Blocks blocks_ = Blocks::kNone;
};

}  // namespace group_norm_grad
