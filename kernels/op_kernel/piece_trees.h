// The sums a channel of 16-bit pieces, by trees: their first level is taken one unit of the float32
// copies at a time, the others later, for as many rows as the scratch holds. No weights, no
// schedule.
#pragma once

#include "context.h"

namespace group_norm_grad {

template <class T>
class PieceTrees {
 public:
  __aicore__ inline explicit PieceTrees(const Context<T>& context)
      : context_(context), tiling_(context.tiling) {}

  // Sums go to `sums`, and `apart` lanes further those of grad_out * input, or to the first those
  // that are wanted.
  __aicore__ inline void Init(const Passes<T>& passes, const LocalTensor<float>& sums,
                              int32_t apart) {
    passes_ = passes;
    sums_ = sums;
    apart_ = apart;
  }

  // The next rows, or the next part of a row. `value`: where the first one's sum goes. `at_once`:
  // rows of a unit. `release`: once the data has been read.
  __aicore__ inline void Add(int32_t value, int32_t rows, int32_t pitch, int32_t at_once,
                             const LocalTensor<T>& grad_out, const LocalTensor<T>& input,
                             const LocalTensor<float>& mean, const Release& release) {
    Order();  // a second pass may still read its copies
    mean_ = mean;
    const int32_t step = Parts() ? 1 : at_once;
    for (int32_t row = 0; row < rows; row += step) {
      const int32_t count = MinOf(rows - row, step);
      const int32_t at = row * pitch;
      const Release last = row + count == rows ? release : Release{};
      if (Parts()) {
        AddParts(value + row, pitch, grad_out[at], input[at], last);
        continue;
      }
      if (rows_ + count > tiling_.tree_rows) Finish();
      if (rows_ == 0) value_ = value + row;
      SumUnit(passes_.scratch[rows_ * Sources() * tiling_.tree_lanes], grad_out[at], input[at],
              count * pitch, last);
      Order();
      rows_ += count;
    }
  }

  // The rest of the trees.
  __aicore__ inline void Finish() {
    if (rows_ == 0) return;
    Order();
    const int32_t sources = Sources();
    const int32_t blocks = tiling_.tree_lanes / kBlockLanes;
    const int32_t step = StepBlocks(blocks);
    const int32_t repeats = rows_ * (blocks / step);
    const LocalTensor<float> next = Behind(step);
    for (int32_t source = 0; source < sources; ++source) {
      SumBlocks(next[source * repeats * kBlockLanes], passes_.scratch[source * kBlockLanes],
                repeats, step, TreeStep(), 1, sources);
    }
    Order();
    ClimbTrees(sums_[value_], apart_, sources, rows_, rows_, blocks / step, step, next,
               rows_ >= kBlockReduceRows && value_ % kBlockLanes == 0);
    Order();
    rows_ = 0;
    units_ = 0;
  }

 private:
  static constexpr int32_t kPairBlocks = 2 * kBlockLanes;

  // Whether a unit is a part of a row.
  __aicore__ inline bool Parts() const { return tiling_.work_rows == 0 || tiling_.row_pieces > 1; }

  __aicore__ inline int32_t Sources() const {
    return context_.NeedGradOutSums() && context_.NeedProductSums() ? 2 : 1;
  }

  // Blocks of a row that its tree's first level sums at once.
  __aicore__ inline int32_t TreeStep() const {
    return Parts() ? kBlockLanes : tiling_.row_pitch / tiling_.tree_lanes;
  }

  // The scratch behind the trees, of which the next level sums `step` blocks at once. Its last
  // repeat may look past them, at every second of 8 blocks: with steps of 2 and 3 by more than
  // kTreeSlack.
  __aicore__ inline LocalTensor<float> Behind(int32_t step) const {
    const int32_t slack = step < kBlockLanes / 2 ? 2 * kTreeSlack : kTreeSlack;
    return passes_.scratch[Sources() * tiling_.tree_rows * tiling_.tree_lanes + slack];
  }

  // A row, or a part of it that continues the tree of the one before: the units' sums are added up.
  __aicore__ inline void AddParts(int32_t value, int32_t pitch, const LocalTensor<T>& grad_out,
                                  const LocalTensor<T>& input, const Release& release) {
    if (tiling_.row_pieces == 1 || units_ >= kMostUnits) Finish();
    const LocalTensor<float>& tree = passes_.scratch;
    const int32_t all = Sources() * tiling_.tree_lanes;
    for (int32_t at = 0; at < pitch; at += tiling_.work_elems) {
      const int32_t count = MinOf(pitch - at, tiling_.work_elems);
      const int32_t lanes = (count + kLanes - 1) / kLanes * kBlockLanes * Sources();
      const Release last = at + count == pitch ? release : Release{};
      if (rows_ == 0) {
        rows_ = 1;
        value_ = value;
        if (lanes < all) AscendC::Duplicate(tree[lanes], 0.0f, all - lanes);
        SumUnit(tree, grad_out[at], input[at], count, last);
        Order();
      } else {
        const LocalTensor<float> unit = Behind(kBlockLanes);
        SumUnit(unit, grad_out[at], input[at], count, last);
        Order();
        AscendC::Add(tree, tree, unit, lanes);  // beside the next unit's copies
      }
      ++units_;
    }
  }

  // One sum a block of grad_out and of grad_out * (input - mean), in turn: a block of sums of each
  // for every TreeStep() blocks.
  __aicore__ inline void SumUnit(const LocalTensor<float>& dst, const LocalTensor<T>& grad_out,
                                 const LocalTensor<T>& input, int32_t count,
                                 const Release& release) {
    const int32_t lanes = TreeStep() * kBlockLanes;
    const int32_t full = count / lanes;
    const int32_t rest = count - full * lanes;
    if (Sources() == 2 && lanes == kLanes) {
      SumPairs(dst, grad_out, input, full, rest, release);
    } else {
      SumApart(dst, grad_out, input, count, rest, release);
    }
  }

  // Those of a last block that has fewer sums.
  __aicore__ inline void ClearRest(const LocalTensor<float>& dst, int32_t full,
                                   int32_t rest) const {
    const int32_t sums = Sources() * kBlockLanes;
    if (rest > 0) AscendC::Duplicate(dst[full * sums], 0.0f, sums);
  }

  // With 64 lanes of the copy of grad_out and 64 of that of the input in turn, one instruction sums
  // the blocks of both.
  __aicore__ inline void SumPairs(const LocalTensor<float>& dst, const LocalTensor<T>& grad_out,
                                  const LocalTensor<T>& input, int32_t full, int32_t rest,
                                  const Release& release) {
    const LocalTensor<float>& pairs = passes_.work;
    const LocalTensor<float> second = pairs[kLanes];
    WidenPairs(second, input, full, rest);
    WidenPairs(pairs, grad_out, full, rest);
    release.Set();
    Order();
    ClearRest(dst, full, rest);
    RunPairs<SubtractOp>(second, second, mean_, full, rest,
                         BinaryRepeatParams(1, 1, 0, kPairBlocks, kPairBlocks, 0));
    Order();
    RunPairs<MultiplyOp>(second, pairs, second, full, rest,
                         BinaryRepeatParams(1, 1, 1, kPairBlocks, kPairBlocks, kPairBlocks));
    Order();
    SumBlocks(dst, pairs, 2 * full, kBlockLanes, kBlockLanes);
    if (rest == 0) return;
    const TreeMask mask(rest / kBlockLanes, kBlockLanes);
    AscendC::BlockReduceSum(dst[2 * full * kBlockLanes], pairs[2 * full * kLanes], 2, mask.bits, 1,
                            1, kBlockLanes);
  }

  __aicore__ inline void WidenPairs(const LocalTensor<float>& dst, const LocalTensor<T>& src,
                                    int32_t full, int32_t rest) const {
    const AscendC::UnaryRepeatParams params(1, 1, kPairBlocks, kLanes / kBlockOf<T>);
    for (int32_t done = 0; done < full; done += kMaxRepeats) {
      AscendC::Cast(dst[done * 2 * kLanes], src[done * kLanes], AscendC::RoundMode::CAST_NONE,
                    static_cast<uint64_t>(kLanes), MinOf(full - done, kMaxRepeats), params);
    }
    if (rest == 0) return;
    AscendC::Cast(dst[full * 2 * kLanes], src[full * kLanes], AscendC::RoundMode::CAST_NONE,
                  static_cast<uint64_t>(rest), 1, params);
  }

  template <class Op>
  __aicore__ inline void RunPairs(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                  const LocalTensor<float>& b, int32_t full, int32_t rest,
                                  const BinaryRepeatParams& params) const {
    RunRepeats<Op>(dst, a, b, kLanes, full, params);
    if (rest == 0) return;
    const int32_t done = full * kBlockLanes;
    RunRepeats<Op>(dst[done * params.dstRepStride], a[done * params.src0RepStride],
                   b[done * params.src1RepStride], rest, 1, params);
  }

  __aicore__ inline void SumApart(const LocalTensor<float>& dst, const LocalTensor<T>& grad_out,
                                  const LocalTensor<T>& input, int32_t count, int32_t rest,
                                  const Release& release) {
    const LocalTensor<float>& first = passes_.work_grad_out;
    const LocalTensor<float>& second = passes_.work_input;
    ToFloat(first, grad_out, count);
    if (context_.NeedProductSums()) ToFloat(second, input, count);
    release.Set();
    Order();
    ClearRest(dst, (count - rest) / (TreeStep() * kBlockLanes), rest);
    Order();
    if (context_.NeedGradOutSums()) SumBlocksOf(dst, first, count, rest);
    if (!context_.NeedProductSums()) return;
    BroadcastRows<SubtractOp>(second, second, mean_, 1, count, 1);
    Order();
    AscendC::Mul(second, first, second, count);
    Order();
    SumBlocksOf(dst[(Sources() - 1) * kBlockLanes], second, count, rest);
  }

  __aicore__ inline void SumBlocksOf(const LocalTensor<float>& dst, const LocalTensor<float>& data,
                                     int32_t count, int32_t rest) const {
    const int32_t full = (count - rest) / (TreeStep() * kBlockLanes);
    SumBlocks(dst, data, full, TreeStep(), kBlockLanes, Sources());
    if (rest == 0) return;
    SumBlocks(dst[full * Sources() * kBlockLanes], data[count - rest], 1, rest / kBlockLanes,
              kBlockLanes);
  }

  const Context<T>& context_;
  const GroupNormGradTiling& tiling_;
  Passes<T> passes_;
  LocalTensor<float> sums_, mean_;
  int32_t apart_;
  int32_t rows_ = 0;   // whose trees are in the scratch
  int32_t units_ = 0;  // of the one row, added up
  int32_t value_ = 0;  // where the first one's sum goes
};

}  // namespace group_norm_grad
