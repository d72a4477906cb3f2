// Schedule::kGroupTiles: tiles of whole groups, each read once. A core owns a range of N by a range
// of G and adds its sums a channel up over N before they leave it. The other cores' come to those
// of the owners while these are at their last tiles, or to the second stage. Groups that do not fit
// in the unified buffer are other schedules' business.
#pragma once

#include "tile_unit.h"

namespace group_norm_grad {

template <class T>
class GroupTiles {
 public:
  __aicore__ inline explicit GroupTiles(Context<T>& context)
      : context_(context), tiling_(context.tiling), units_(context) {}

  __aicore__ inline void Process() {
    TakeShare();
    TakeBuffers();
    if (owns_) context_.flags.Signal(kChannelSums);

    Cursor cursor{g_begin_, n_begin_, g_begin_, n_begin_};
    Cursor next = cursor;
    LoadInput(next, 0);  // before the small loads, so that the memory does not wait for these
    OpenWindow(cursor, true);
    LoadGradOut(next, 0);
    for (int32_t slot = 1; slot < ring_.slots() && IsValid(next); ++slot) Load(next, slot);
    for (int32_t slot = 0; IsValid(cursor); slot = ring_.Step(slot, 1)) {
      const Cursor done = cursor;
      const bool in_steps = InSteps(done);
      if (in_steps) {
        FinishLastTile(done, slot);
      } else {
        ring_.BeginCompute(slot);
        Compute(done, slot);
      }
      Advance(cursor);
      const bool same_weight = cursor.window_g == done.window_g;
      if (!same_weight && !owns_) Flush(done);
      if (!IsValid(cursor) && LeavesSums()) context_.flags.Signal(kChannelSums);
      if (tiling_.want_input && !in_steps) {
        ring_.BeginStore(slot);
        const Tile tile = TileAt(done);
        StoreTile(tile, ring_.grad_out(slot));
      }
      if (IsValid(next)) Load(next, slot);
      if (!IsValid(cursor)) break;
      if (!same_weight || cursor.window_n != done.window_n) OpenWindow(cursor, !same_weight);
    }
    if (LeavesSums()) {
      context_.flags.Wait(kChannelSums);
      if (owns_) FinishOwn();
    }
    context_.courier.Reclaim();
  }

 private:
  static constexpr int32_t kChannelSums = 0;  // the flag between cores

  // A tile's first group (n, g) and the window whose statistics and weight are in the unified
  // buffer.
  struct Cursor {
    int64_t window_g, window_n;
    int64_t g, n;
  };

  struct Tile {
    int64_t n, g;
    int32_t n_count, g_count;
  };

  __aicore__ inline void TakeShare() {
    const int64_t owners = tiling_.own_n > 0 ? tiling_.G : 0;
    owns_ = context_.core < owners;
    window_n_ = owns_ ? tiling_.own_n : tiling_.window_n;
    Share n{0, tiling_.own_n};
    Share g{context_.core, 1};
    sums_row_ = 0;
    if (!owns_) {
      const int64_t core = context_.core - owners;
      const int64_t n_block =
          core / tiling_.g_blocks;  // one division a core: only the core knows its index
      n = ShareOf(n_block, tiling_.n_base, tiling_.n_larger);
      n.first += tiling_.own_n;
      g = ShareOf(core - n_block * tiling_.g_blocks, tiling_.g_base, tiling_.g_larger);
      if (LeavesSums()) sums_row_ = n_block * tiling_.C;
    }
    n_begin_ = n.first;
    n_end_ = n.first + n.count;
    g_begin_ = g.first;
    g_end_ = g.first + g.count;
  }

  // Whether sums a channel go to the workspace, for the owners or for the second stage.
  __aicore__ inline bool LeavesSums() const {
    return tiling_.own_n > 0 || context_.HasSecondStage();
  }

  __aicore__ inline void TakeBuffers() {
    UbArena& arena = context_.arena;
    ring_.Init(context_.pipe, arena, tiling_.slots, tiling_.slot_elems, tiling_.own_n > 0);
    units_.TakeBuffers();
    const int32_t window_values = tiling_.window_g * tiling_.channel_pitch;
    if (tiling_.unit_n > 1) {
      repeated_weight_ = arena.Take<float>(tiling_.unit_n * tiling_.unit_g * tiling_.channel_pitch);
    }
    if (tiling_.own_n > 0) {
      others_sums_ =
          arena.Take<float>(2 * static_cast<int32_t>(tiling_.finish_rows) * tiling_.channel_pitch);
    }
    window_sums_ = arena.Take<float>(2 * window_values);
    weight_ = arena.Take<float>(window_values);
    statistics_ = arena.Take<float>(2 * tiling_.stat_elems);
    statistics_packed_ = arena.Take<float>(tiling_.stat_entries);
    mean_ = arena.Take<float>(tiling_.stat_entries * kBlockLanes);
    rstd_ = arena.Take<float>(tiling_.stat_entries * kBlockLanes);
    if (!tiling_.stat_is_float) statistics_staging_ = arena.Take<T>(2 * tiling_.stat_elems);
    if (!tiling_.weight_is_float) {
      weight_staging_ = arena.Take<T>(2 * RoundUpTo<kBlockOf<T>>(window_values));
    }
    AscendC::Duplicate(statistics_packed_, 0.0f, tiling_.stat_entries);
    AscendC::Duplicate(weight_, tiling_.has_weight ? 0.0f : 1.0f, window_values);
    Order();
  }

  __aicore__ inline bool IsValid(const Cursor& cursor) const { return cursor.window_g < g_end_; }
  __aicore__ inline int64_t WindowEndN(const Cursor& cursor) const {
    return MinOf64(cursor.window_n + window_n_, n_end_);
  }
  __aicore__ inline int64_t WindowEndG(const Cursor& cursor) const {
    return MinOf64(cursor.window_g + tiling_.window_g, g_end_);
  }

  __aicore__ inline void Advance(Cursor& cursor) const {
    cursor.n += tiling_.tile_n;
    if (cursor.n < WindowEndN(cursor)) return;
    cursor.n = cursor.window_n;
    cursor.g += tiling_.tile_g;
    if (cursor.g < WindowEndG(cursor)) return;
    cursor.window_n += window_n_;
    if (cursor.window_n >= n_end_) {
      cursor.window_n = n_begin_;
      cursor.window_g += tiling_.window_g;
    }
    cursor.n = cursor.window_n;
    cursor.g = cursor.window_g;
  }

  __aicore__ inline Tile TileAt(const Cursor& cursor) const {
    return {cursor.n, cursor.g, MinOf(WindowEndN(cursor) - cursor.n, tiling_.tile_n),
            MinOf(WindowEndG(cursor) - cursor.g, tiling_.tile_g)};
  }

  // A tile's rows in global memory and in the unified buffer, as one shape or as one for each n.
  struct TileShape {
    RowShape rows;
    int32_t moves;
    int32_t ub_step;
    int64_t offset, gm_step;
  };

  __aicore__ inline TileShape ShapeOf(const Tile& tile) const {
    const int64_t group_elems = tiling_.D * tiling_.S;
    const int64_t n_stride = tiling_.G * group_elems;
    const bool lanes = tiling_.S == 1;
    const int32_t cols = static_cast<int32_t>(lanes ? tiling_.D : tiling_.S);
    const int32_t rows = tile.g_count * static_cast<int32_t>(lanes ? 1 : tiling_.D);
    const int32_t pitch = lanes ? tiling_.channel_pitch : tiling_.row_pitch;
    TileShape shape{{},
                    1,
                    tile.g_count * tiling_.group_pitch,
                    tile.n * n_stride + tile.g * group_elems,
                    n_stride};
    if (cols == pitch) {
      const int32_t dense = rows * cols;
      shape.rows = {tile.n_count, dense, dense, n_stride};
    } else if (tile.g_count == tiling_.G) {
      shape.rows = {tile.n_count * rows, cols, pitch, cols};
    } else {
      shape.rows = {rows, cols, pitch, cols};
      shape.moves = tile.n_count;
    }
    return shape;
  }

  __aicore__ inline void Load(Cursor& next, int32_t slot) {
    LoadInput(next, slot);
    LoadGradOut(next, slot);
  }

  __aicore__ inline void LoadInput(const Cursor& next, int32_t slot) {
    ring_.BeginInput(slot);
    if (context_.NeedProductSums()) {
      LoadTile(ring_.input(slot), context_.input, ShapeOf(TileAt(next)));
    }
    if (InSteps(next)) ring_.EndHalf(Half::kOfGroup);
  }

  __aicore__ inline void LoadGradOut(Cursor& next, int32_t slot) {
    ring_.BeginGradOut(slot);
    LoadTile(ring_.grad_out(slot), context_.grad_out, ShapeOf(TileAt(next)));
    ring_.EndLoad(slot);
    Advance(next);
  }

  __aicore__ inline void LoadTile(const LocalTensor<T>& dst, const GlobalTensor<T>& src,
                                  const TileShape& shape) const {
    for (int32_t i = 0; i < shape.moves; ++i) {
      LoadRows<T>(dst[i * shape.ub_step], src, shape.offset + i * shape.gm_step, shape.rows);
    }
  }

  __aicore__ inline void StoreTile(const Tile& tile, const LocalTensor<T>& data) {
    const TileShape shape = ShapeOf(tile);
    for (int32_t i = 0; i < shape.moves; ++i) {
      StoreRows<T>(context_.grad_input, shape.offset + i * shape.gm_step, data[i * shape.ub_step],
                   shape.rows);
    }
  }

  // Weight, statistics and sums of the window. All loads come before the wait for any, so that the
  // load pipe goes on.
  __aicore__ inline void OpenWindow(const Cursor& cursor, bool new_weight) {
    const bool load_weight = new_weight && tiling_.want_input && tiling_.has_weight;
    const bool load_statistics = context_.NeedProductSums();
    if (new_weight) {
      context_.courier.Reclaim();
      AscendC::Duplicate(window_sums_, 0.0f, 2 * tiling_.window_g * tiling_.channel_pitch);
      repeated_g_ = -1;
    }
    if (load_weight || load_statistics) {
      context_.courier.BeforeLoad();
      if (load_weight) LoadWeight(cursor);
      if (load_statistics) LoadStatistics(cursor);
      context_.courier.AfterLoad();
    }
    if (load_weight) {
      context_.weight.Widen(weight_, weight_staging_, WindowGroups(cursor) * tiling_.channel_pitch);
    }
    if (load_statistics) SpreadStatistics(cursor);
    Order();
  }

  __aicore__ inline int32_t WindowGroups(const Cursor& cursor) const {
    return static_cast<int32_t>(WindowEndG(cursor) - cursor.window_g);
  }

  __aicore__ inline void LoadWeight(const Cursor& cursor) {
    context_.weight.Load(
        weight_, weight_staging_, cursor.window_g * tiling_.D,
        {WindowGroups(cursor), static_cast<int32_t>(tiling_.D), tiling_.channel_pitch, tiling_.D});
  }

  // Rows of the window's statistics, one an n: all of G, or g rounded up to a block.
  __aicore__ inline RowShape StatisticsRows(const Cursor& cursor) const {
    const int32_t g = WindowGroups(cursor);
    const int32_t block = tiling_.stat_is_float ? kBlockLanes : kBlockOf<T>;
    const int32_t pitch = g == tiling_.G ? g : (g + block - 1) / block * block;
    return {static_cast<int32_t>(WindowEndN(cursor) - cursor.window_n), g, pitch, tiling_.G};
  }

  __aicore__ inline LocalTensor<T> RstdStaging() const {
    return tiling_.stat_is_float ? statistics_staging_ : statistics_staging_[tiling_.stat_elems];
  }

  __aicore__ inline void LoadStatistics(const Cursor& cursor) {
    const RowShape shape = StatisticsRows(cursor);
    const int64_t offset = cursor.window_n * tiling_.G + cursor.window_g;
    context_.mean.Load(statistics_, statistics_staging_, offset, shape);
    context_.rstd.Load(statistics_[tiling_.stat_elems], RstdStaging(), offset, shape);
  }

  // Mean and rstd of the window, one block each, `statistics_step_` blocks from one n to the next.
  __aicore__ inline void SpreadStatistics(const Cursor& cursor) {
    const RowShape shape = StatisticsRows(cursor);
    const int32_t n = shape.rows;
    const int32_t pitch = shape.pitch;
    const LocalTensor<float> rstd = statistics_[tiling_.stat_elems];
    const int32_t count = RoundUpTo<kBlockLanes>(n * pitch);
    context_.mean.Widen(statistics_, statistics_staging_, count);
    context_.rstd.Widen(rstd, RstdStaging(), count);
    Order();
    if (shape.cols == 1 && tiling_.G != 1) {
      statistics_step_ = 1;
      PackStatistics(mean_, statistics_, n, pitch);
      PackStatistics(rstd_, rstd, n, pitch);
    } else {
      statistics_step_ = pitch;
      FillBlocks(mean_, statistics_, n * pitch);
      FillBlocks(rstd_, rstd, n * pitch);
    }
  }

  // Each row holds one value and zeros up to the pitch: its sum is the value.
  __aicore__ inline void PackStatistics(const LocalTensor<float>& blocks,
                                        const LocalTensor<float>& rows, int32_t n, int32_t pitch) {
    SumRows<false>(statistics_packed_, rows, rows, n, pitch, units_.passes().scratch,
                   units_.passes().scratch_elems, true);
    FillBlocks(blocks, statistics_packed_, n);
    Order();
  }

  __aicore__ inline void Compute(const Cursor& cursor, int32_t slot) {
    const Tile tile = TileAt(cursor);
    const int32_t g_offset = static_cast<int32_t>(tile.g - cursor.window_g);
    const int32_t n_offset = static_cast<int32_t>(tile.n - cursor.window_n);
    const bool uniform = tile.g_count == 1 || tile.g_count == statistics_step_;
    const int32_t unit_n = uniform ? tiling_.unit_n : 1;
    if (unit_n > 1) RepeatWeight(tile, g_offset);
    for (int32_t n = 0; n < tile.n_count; n += unit_n) {
      for (int32_t g = 0; g < tile.g_count; g += tiling_.unit_g) {
        TileUnit unit;
        unit.n_count = MinOf(tile.n_count - n, unit_n);
        const int32_t g_count = MinOf(tile.g_count - g, tiling_.unit_g);
        unit.groups = unit.n_count * g_count;
        unit.width = g_count * tiling_.channel_pitch;
        unit.step = g_count == 1 ? statistics_step_ : 1;
        const int32_t first = ((n_offset + n) * statistics_step_ + g_offset + g) * kBlockLanes;
        const int32_t channel = (g_offset + g) * tiling_.channel_pitch;
        unit.mean = mean_[first];
        unit.rstd = rstd_[first];
        unit.weight = unit_n > 1 ? repeated_weight_ : weight_[channel];
        unit.sums = window_sums_[channel];
        unit.product_sums = window_sums_[tiling_.window_g * tiling_.channel_pitch + channel];
        const int32_t at = (n * tile.g_count + g) * tiling_.group_pitch;
        units_.Compute(unit, ring_.grad_out(slot)[at], ring_.input(slot)[at]);
      }
    }
  }

  // An owner's last tile of one group: behind it comes nothing but its store, so that the input is
  // centred while grad_out comes in, and half of grad_input leaves while the other is computed.
  __aicore__ inline bool InSteps(const Cursor& cursor) const {
    if (!kIsFloat<T> || !owns_ || !tiling_.want_input || tiling_.D == 1) return false;
    Cursor after = cursor;
    Advance(after);
    return !IsValid(after) && TileAt(cursor).n_count == 1;
  }

  __aicore__ inline void FinishLastTile(const Cursor& cursor, int32_t slot) {
    const LocalTensor<T>& grad_out = ring_.grad_out(slot);
    const LocalTensor<T>& input = ring_.input(slot);
    const int32_t at =
        static_cast<int32_t>(cursor.n - cursor.window_n) * statistics_step_ * kBlockLanes;
    const TileUnit unit{1,
                        1,
                        tiling_.channel_pitch,
                        statistics_step_,
                        mean_[at],
                        rstd_[at],
                        weight_,
                        window_sums_,
                        window_sums_[tiling_.window_g * tiling_.channel_pitch]};
    ring_.BeginHalf(Half::kOfGroup);
    units_.CentreGroup(unit, input);
    ring_.BeginCompute(slot);
    units_.SumGroup(unit, grad_out, input);
    const int32_t rows = static_cast<int32_t>(tiling_.D);
    const int32_t half = rows / 2;
    units_.GradientRows(unit, grad_out, input, 0, half);
    ring_.BeginStoreHalf();
    StoreGroupRows(cursor, grad_out, 0, half);
    units_.GradientRows(unit, grad_out, input, half, rows - half);
    ring_.BeginStore(slot);
    StoreGroupRows(cursor, grad_out, half, rows - half);
  }

  __aicore__ inline void StoreGroupRows(const Cursor& cursor, const LocalTensor<T>& data,
                                        int32_t row, int32_t rows) {
    const int64_t offset = ((cursor.n * tiling_.G + cursor.g) * tiling_.D + row) * tiling_.S;
    const int32_t pitch = tiling_.row_pitch;
    const int32_t cols = static_cast<int32_t>(tiling_.S);
    const RowShape shape = cols == pitch ? RowShape{1, rows * cols, rows * cols, rows * cols}
                                         : RowShape{rows, cols, pitch, cols};
    StoreRows<T>(context_.grad_input, offset, data[row * pitch], shape);
  }

  // The weight of the tile's groups once for each n of a compute unit, by doubling.
  __aicore__ inline void RepeatWeight(const Tile& tile, int32_t g_offset) {
    if (repeated_g_ == tile.g) return;
    repeated_g_ = tile.g;
    const int32_t width = tile.g_count * tiling_.channel_pitch;
    AscendC::Adds(repeated_weight_, weight_[g_offset * tiling_.channel_pitch], 0.0f, width);
    Order();
    for (int32_t n = 1; n < tiling_.unit_n; n *= 2) {
      AscendC::Adds(repeated_weight_[n * width], repeated_weight_, 0.0f,
                    MinOf(tiling_.unit_n - n, n) * width);
      Order();
    }
  }

  __aicore__ inline void Flush(const Cursor& cursor) {
    if (!context_.WantSums()) return;
    const int32_t groups = static_cast<int32_t>(WindowEndG(cursor) - cursor.window_g);
    const int32_t window_values = tiling_.window_g * tiling_.channel_pitch;
    context_.StoreSums(
        sums_row_ + cursor.window_g * tiling_.D, window_sums_, weight_staging_, window_values,
        {groups, static_cast<int32_t>(tiling_.D), tiling_.channel_pitch, tiling_.D}, !LeavesSums());
  }

  // grad_bias and grad_weight of the core's group: to its own sums come those that the other cores
  // left, row by row grad_bias's and then grad_weight's, which follow without a gap.
  __aicore__ inline void FinishOwn() {
    const int32_t D = static_cast<int32_t>(tiling_.D);
    const int32_t rows = static_cast<int32_t>(tiling_.finish_rows);
    const int32_t pitch = RoundUpTo<kBlockLanes>(D);
    const int32_t window_values = tiling_.window_g * tiling_.channel_pitch;
    LoadRows<float>(others_sums_, context_.workspace, tiling_.partial_offset + g_begin_ * tiling_.D,
                    {2 * rows, D, pitch, tiling_.C});
    context_.courier.AfterLoad();
    const LocalTensor<float> products = others_sums_[rows * pitch];
    FoldRows(others_sums_, rows, pitch);
    FoldRows(products, rows, pitch);
    AscendC::Add(window_sums_, window_sums_, others_sums_, pitch);
    AscendC::Add(window_sums_[window_values], window_sums_[window_values], products, pitch);
    Order();
    context_.StoreSums(g_begin_ * tiling_.D, window_sums_, weight_staging_, window_values,
                       {1, D, tiling_.channel_pitch, tiling_.D}, true);
  }

  Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  Ring<T> ring_;
  TileUnits<T> units_;
  LocalTensor<float> repeated_weight_;
  LocalTensor<float> window_sums_, weight_, others_sums_;
  LocalTensor<float> statistics_, statistics_packed_, mean_, rstd_;
  LocalTensor<T> statistics_staging_, weight_staging_;
  int32_t statistics_step_ = 1;
  int64_t repeated_g_ = -1;
  bool owns_;
  int64_t window_n_;
  int64_t n_begin_, n_end_, g_begin_, g_end_;
  int64_t sums_row_;
};

}  // namespace group_norm_grad
