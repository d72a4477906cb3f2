// Statistics and weight of the groups that a walk over pieces meets: what of them is in the unified
// buffer, and in which form. No data of the groups, no sums.
#pragma once

#include "context.h"

namespace group_norm_grad {

// Where a piece starts: `row` is a channel of the group, `piece` a part of that row.
struct PieceCursor {
  int64_t group, row, piece;
};

template <class T>
class PieceValues {
 public:
  __aicore__ inline explicit PieceValues(Context<T>& context)
      : context_(context), tiling_(context.tiling) {}

  // `weight_staging`: for the narrow weight; others may use it between calls.
  __aicore__ inline void TakeBuffers(const LocalTensor<T>& weight_staging) {
    UbArena& arena = context_.arena;
    weight_ = arena.Take<float>(tiling_.weight_elems);
    scaled_weight_ = arena.Take<float>(tiling_.vector_elems);
    if (tiling_.S > 1) channel_blocks_ = arena.Take<float>(tiling_.vector_elems * kBlockLanes);
    statistics_ = arena.Take<float>(2 * kStatisticsWindow);
    mean_ = arena.Take<float>(kStatisticsWindow * kBlockLanes);
    rstd_ = arena.Take<float>(kStatisticsWindow * kBlockLanes);
    factors_ = arena.Take<float>(2 * kStatisticsWindow * kBlockLanes);
    if (!tiling_.stat_is_float) statistics_staging_ = arena.Take<T>(2 * kStatisticsWindow);
    weight_staging_ = weight_staging;
    AscendC::Duplicate(weight_, 1.0f, tiling_.weight_elems);
    // S = 1 takes lanes of it up to a block of 16-bit data.
    AscendC::Duplicate(scaled_weight_, 0.0f, tiling_.vector_elems);
  }

  // What the walk needs before all but the first piece of data, ahead of the others in the load
  // pipe's queue: statistics of the core's whole groups, if it has any, and of those that are dealt
  // out behind them; and the weight from `first` on.
  __aicore__ inline void Prepare(const PieceCursor& first, const PieceCursor& whole,
                                 const PieceCursor& dealt) {
    if (tiling_.whole_groups > 0) {
      first_ = {whole.group, static_cast<int32_t>(tiling_.whole_groups), 0};
      second_ = {dealt.group, MinOf(AllGroups() - dealt.group, kStatisticsWindow / 2),
                 kStatisticsWindow / 2};
    } else {
      first_ = WindowOf(first.group, false);
    }
    context_.courier.BeforeLoad();
    LoadStatistics();
    int32_t weights = 0;
    if (tiling_.want_input && tiling_.weight_pitch > 0) {
      const int32_t rows = static_cast<int32_t>(tiling_.D);
      weights = tiling_.weight_elems;
      LoadWeight(0, {static_cast<int32_t>(tiling_.G), rows, tiling_.weight_pitch, rows});
    } else if (tiling_.want_input) {
      weights = LoadWeight(RowOf(first));
    }
    context_.courier.AfterLoad();
    SpreadStatistics();
    WidenWeight(weights);
  }

  // Mean and rstd of a window of groups that starts, or when walking backwards ends, with this one.
  __aicore__ inline void OpenStatistics(int64_t group, bool backwards) {
    if (first_.Has(group) || second_.Has(group)) return;
    first_ = WindowOf(group, backwards);
    second_ = {0, 0, 0};
    context_.courier.BeforeLoad();
    LoadStatistics();
    context_.courier.AfterLoad();
    SpreadStatistics();
  }

  // One block of the group's.
  __aicore__ inline LocalTensor<float> Mean(int64_t group) const {
    return mean_[StatisticsAt(group)];
  }
  __aicore__ inline LocalTensor<float> Rstd(int64_t group) const {
    return rstd_[StatisticsAt(group)];
  }
  // -rstd / M, and kStatisticsWindow blocks further -rstd^2 / M.
  __aicore__ inline LocalTensor<float> Factors(int64_t group) const {
    return factors_[StatisticsAt(group)];
  }

  // The weight of `rows` rows from the cursor's on, at WeightAt of the cursor in weight(). Windows
  // of S = 1 start with the cursor's row, because channels are lanes there.
  __aicore__ inline void OpenWeight(const PieceCursor& cursor, int32_t rows) {
    const bool aligned = tiling_.S > 1 || WeightAt(cursor) % kBlockLanes == 0;
    if (!HasWeight(cursor, rows) || !aligned) OpenWeight(RowOf(cursor));
  }

  __aicore__ inline const LocalTensor<float>& weight() const { return weight_; }

  __aicore__ inline int32_t WeightAt(const PieceCursor& cursor) {
    if (tiling_.weight_pitch == 0) return static_cast<int32_t>(RowOf(cursor) - weight_row_);
    if (cursor.group < batch_group_ || cursor.group >= batch_group_ + tiling_.G) {
      batch_group_ = cursor.group - cursor.group % tiling_.G;  // once an n
    }
    return static_cast<int32_t>(cursor.group - batch_group_) * tiling_.weight_pitch +
           static_cast<int32_t>(cursor.row);
  }

  // The weight from the cursor's row on, as one block a channel. After OpenWeight.
  __aicore__ inline LocalTensor<float> WeightBlocks(const PieceCursor& cursor) {
    OpenBlocks(Blocks::kWeight, cursor.group);
    return channel_blocks_[(WeightAt(cursor) - blocks_first_) * kBlockLanes];
  }

  // weight * rstd of `rows` rows from the cursor's on, for ScaledWeight and ScaledWeightBlocks. A
  // window ends with the rows, because the walk goes backwards.
  __aicore__ inline void OpenScaledWeight(const PieceCursor& cursor, int32_t rows) {
    if (!HasWeight(cursor, rows)) {
      const int64_t row = RowOf(cursor);
      const int64_t all = row - row % tiling_.C;  // the first row of this n
      const int64_t end = row + rows - tiling_.vector_elems;
      OpenWeight(tiling_.S == 1 ? row : (end > all ? end : all));
    }
    OpenBlocks(Blocks::kScaledWeight, cursor.group);
    scaled_at_ = WeightAt(cursor) - blocks_first_;
  }

  // From the cursor's row of OpenScaledWeight, `row` further: a lane, or a block, a channel.
  __aicore__ inline LocalTensor<float> ScaledWeight(int32_t row) const {
    return scaled_weight_[scaled_at_ + row];
  }
  __aicore__ inline LocalTensor<float> ScaledWeightBlocks(int32_t row) const {
    return channel_blocks_[(scaled_at_ + row) * kBlockLanes];
  }

 private:
  enum class Blocks : uint8_t { kNone, kWeight, kScaledWeight };

  // Groups whose statistics are in the unified buffer, from entry `at` on.
  struct Window {
    int64_t group;
    int32_t count, at;

    __aicore__ inline bool Has(int64_t other) const {
      return other >= group && other < group + count;
    }
  };

  __aicore__ inline int64_t AllGroups() const { return tiling_.N * tiling_.G; }
  // Rows are numbered through all groups, and so through all n, as in global memory.
  __aicore__ inline int64_t RowOf(const PieceCursor& cursor) const {
    return cursor.group * tiling_.D + cursor.row;
  }

  __aicore__ inline int32_t StatisticsAt(int64_t group) const {
    const Window& window = first_.Has(group) ? first_ : second_;
    return (window.at + static_cast<int32_t>(group - window.group)) * kBlockLanes;
  }

  __aicore__ inline Window WindowOf(int64_t group, bool backwards) const {
    const int64_t end = backwards ? group + 1 : MinOf64(group + kStatisticsWindow, AllGroups());
    const int64_t begin = backwards ? end - MinOf(end, kStatisticsWindow) : group;
    return {begin, static_cast<int32_t>(end - begin), 0};
  }

  // Of both windows, at once where they allow it, and without the flags that other loads may share.
  __aicore__ inline void LoadStatistics() {
    if (!context_.NeedProductSums()) return;
    const int32_t count = second_.count;
    const int64_t apart = second_.group - first_.group;
    if (count >= first_.count && apart >= count) {
      LoadStatistics(first_, {2, count, second_.at - first_.at, apart});
      return;
    }
    LoadStatistics(first_, {1, first_.count, first_.count, first_.count});
    if (count > 0) LoadStatistics(second_, {1, count, count, count});
  }

  __aicore__ inline void SpreadStatistics() {
    if (!context_.NeedProductSums()) return;
    SpreadStatistics(first_);
    if (second_.count > 0) SpreadStatistics(second_);
  }

  __aicore__ inline void LoadStatistics(const Window& window, const RowShape& shape) {
    const int32_t rstd = kStatisticsWindow + window.at;
    context_.mean.Load(statistics_[window.at], StatisticsStaging(window.at), window.group, shape);
    context_.rstd.Load(statistics_[rstd], StatisticsStaging(rstd), window.group, shape);
  }

  __aicore__ inline void SpreadStatistics(const Window& window) {
    const int32_t count = RoundUpTo<kBlockLanes>(window.count);
    const int32_t rstd = kStatisticsWindow + window.at;
    context_.mean.Widen(statistics_[window.at], StatisticsStaging(window.at), count);
    context_.rstd.Widen(statistics_[rstd], StatisticsStaging(rstd), count);
    Order();
    FillBlocks(mean_[window.at * kBlockLanes], statistics_[window.at], count);
    FillBlocks(rstd_[window.at * kBlockLanes], statistics_[rstd], count);
    Order();
    const int32_t at = window.at * kBlockLanes;
    const LocalTensor<float> squares = factors_[kStatisticsWindow * kBlockLanes];
    AscendC::Muls(factors_[at], rstd_[at], tiling_.neg_inv_group_elems, count * kBlockLanes);
    Order();
    AscendC::Mul(squares[at], factors_[at], rstd_[at], count * kBlockLanes);
    Order();
  }

  __aicore__ inline LocalTensor<T> StatisticsStaging(int32_t at) const {
    return tiling_.stat_is_float ? statistics_staging_ : statistics_staging_[at];
  }

  __aicore__ inline bool HasWeight(const PieceCursor& cursor, int32_t rows) const {
    if (tiling_.weight_pitch > 0) return true;
    const int64_t row = RowOf(cursor);
    return row >= weight_row_ && row + rows <= weight_row_ + weight_count_;
  }

  // A window: the channels from `row` on, as many as the buffer holds and this n still has.
  __aicore__ inline void OpenWeight(int64_t row) {
    context_.courier.Reclaim();  // the staging buffer may be on its way out
    context_.courier.BeforeLoad();
    const int32_t count = LoadWeight(row);
    context_.courier.AfterLoad();
    WidenWeight(count);
  }

  // Returns the number of values, up to a block.
  __aicore__ inline int32_t LoadWeight(int64_t row) {
    const int64_t channel = row % tiling_.C;
    weight_row_ = row;
    weight_count_ = MinOf(tiling_.C - channel, tiling_.weight_elems);
    blocks_ = Blocks::kNone;
    LoadWeight(channel, {1, weight_count_, weight_count_, weight_count_});
    return RoundUpTo<kBlockLanes>(weight_count_);
  }

  __aicore__ inline void LoadWeight(int64_t channel, const RowShape& shape) {
    if (tiling_.has_weight) context_.weight.Load(weight_, weight_staging_, channel, shape);
  }

  __aicore__ inline void WidenWeight(int32_t count) {
    if (tiling_.has_weight && count > 0) context_.weight.Widen(weight_, weight_staging_, count);
    Order();
  }

  // Blocks of the group when the whole weight is there, else of the window.
  __aicore__ inline void OpenBlocks(Blocks kind, int64_t group) {
    if (blocks_ == kind && blocks_group_ == group) return;
    blocks_ = kind;
    blocks_group_ = group;
    const bool whole = tiling_.weight_pitch > 0;
    blocks_first_ = whole ? WeightAt({group, 0, 0}) : 0;
    const int32_t count =
        RoundUpTo<kBlockLanes>(whole ? static_cast<int32_t>(tiling_.D) : weight_count_);
    const LocalTensor<float> weight = weight_[blocks_first_];
    const bool scaled = kind == Blocks::kScaledWeight;
    if (scaled) {
      BroadcastRows<MultiplyOp>(scaled_weight_, weight, Rstd(group), 1, count, 1);
      Order();
    }
    if (tiling_.S > 1) {
      FillBlocks(channel_blocks_, scaled ? scaled_weight_ : weight, count);
      Order();
    }
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  LocalTensor<float> weight_, scaled_weight_, channel_blocks_;
  LocalTensor<float> statistics_, mean_, rstd_, factors_;
  LocalTensor<T> statistics_staging_, weight_staging_;
  Window first_{0, 0, 0}, second_{0, 0, 0};
  int64_t batch_group_ = 0;  // the first group of an n
  int64_t weight_row_ = 0;
  int32_t weight_count_ = 0;
  Blocks blocks_ = Blocks::kNone;
  int64_t blocks_group_ = -1;
  int32_t blocks_first_ = 0;  // the weight of the first block
  int32_t scaled_at_ = 0;     // of the cursor's row in the blocks
};

}  // namespace group_norm_grad
