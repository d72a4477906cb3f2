// Sums along rows in the unified buffer, by trees of instructions over many rows at once. float32
// only; no data movement, no flags.
#pragma once

#include "vector_ops.h"

namespace group_norm_grad {

constexpr int32_t kRowModeSteps =
    5;  // instructions that one row costs when rows are summed one at a time
// From so many rows on, two BlockReduceSum are faster than one WholeReduceSum: 7 cycles a row.
constexpr int32_t kBlockReduceRows = 16;

// Rows of at most kNarrowBlocks blocks: one sum a block column, then one sum a block.
template <bool kProduct>
__aicore__ inline void SumNarrowRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                     const LocalTensor<float>& b, int32_t rows, int32_t blocks,
                                     const LocalTensor<float>& scratch, int32_t scratch_elems) {
  const int32_t batch = MinOf(scratch_elems / kBlockLanes, kMaxRepeats * kBlockLanes);
  for (int32_t row = 0; row < rows; row += batch) {
    const int32_t count = MinOf(rows - row, batch);
    const int32_t at = row * blocks * kBlockLanes;
    int32_t next = 1;
    if constexpr (kProduct) {
      RunBlockColumn<MultiplyOp>(scratch, a[at], b[at], count, 1, blocks, blocks);
    } else if (blocks > 1) {
      RunBlockColumn<AddOp>(scratch, a[at], a[at + kBlockLanes], count, 1, blocks, blocks);
      next = 2;
    }
    for (; next < blocks; ++next) {
      const int32_t column = at + next * kBlockLanes;
      Order();
      if constexpr (kProduct) {
        RunBlockColumn<AddProductOp>(scratch, a[column], b[column], count, 1, blocks, blocks);
      } else {
        RunBlockColumn<AddOp>(scratch, scratch, a[column], count, 1, 1, blocks);
      }
    }
    Order();
    const int32_t full = count / kBlockLanes;
    const int32_t rest = count - full * kBlockLanes;
    const bool direct = !kProduct && blocks == 1;
    for (int32_t part = 0; part < 2; ++part) {
      const int32_t repeats = part == 0 ? full : (rest > 0 ? 1 : 0);
      if (repeats == 0) continue;
      const int32_t done = part == 0 ? 0 : full * kLanes;
      const int32_t mask = part == 0 ? kLanes : rest * kBlockLanes;
      if (direct) {
        AscendC::BlockReduceSum(dst[row + done / kBlockLanes], a[at + done], repeats, mask, 1, 1,
                                kBlockLanes);
      } else {
        AscendC::BlockReduceSum(dst[row + done / kBlockLanes], scratch[done], repeats, mask, 1, 1,
                                kBlockLanes);
      }
    }
    Order();
  }
}

// Whether SumTrees takes rows of so many blocks without wasting most lanes of a repeat.
__aicore__ inline bool HasTree(int32_t blocks) {
  while (blocks > kBlockLanes) {
    const int32_t step = StepBlocks(blocks);
    if (step < 3) return false;
    blocks /= step;
  }
  return true;
}

// The first `lanes` lanes of each of the first `blocks` blocks of a repeat.
struct TreeMask {
  uint64_t bits[2];

  __aicore__ inline TreeMask(int32_t blocks, int32_t lanes) {
    const uint64_t kept = blocks == kBlockLanes ? ~0ULL : (1ULL << (blocks * kBlockLanes)) - 1;
    bits[0] = ((1ULL << lanes) - 1) * 0x0101010101010101ULL & kept;
    bits[1] = 0;
  }
};

// One sum a block for `blocks` blocks a repeat: a block of sums a repeat. Steps are from block to
// block.
__aicore__ inline void SumBlocks(const LocalTensor<float>& dst, const LocalTensor<float>& src,
                                 int32_t repeats, int32_t blocks, int32_t lanes,
                                 int32_t dst_step = 1, int32_t src_step = 1) {
  const TreeMask mask(blocks, lanes);
  const int32_t stride = blocks * src_step;
  for (int32_t done = 0; done < repeats; done += kMaxRepeats) {
    AscendC::BlockReduceSum(dst[done * dst_step * kBlockLanes], src[done * stride * kBlockLanes],
                            MinOf(repeats - done, kMaxRepeats), mask.bits, dst_step, src_step,
                            stride);
  }
}

// The last step of a tree, to one value a row; `many`: one block a row, and dst starts on a block.
__aicore__ inline void FinishTree(const LocalTensor<float>& dst, const LocalTensor<float>& src,
                                  int32_t rows, int32_t blocks, int32_t lanes, bool many) {
  if (!many) {
    const TreeMask mask(blocks, lanes);
    AscendC::WholeReduceSum(dst, src, mask.bits, rows, 1, 1, blocks);
    return;
  }
  const int32_t full = rows / kBlockLanes;
  const int32_t rest = rows - full * kBlockLanes;
  SumBlocks(dst, src, full, kBlockLanes, lanes);
  if (rest > 0) SumBlocks(dst[full * kBlockLanes], src[full * kLanes], 1, rest, lanes);
}

// Scratch lanes a row of SumTrees for one of its sources; kTreeSlack more in all.
constexpr int32_t kTreeSlack = kLanes;
__aicore__ inline int32_t TreeLanes(int32_t blocks) {
  const int32_t left = blocks / StepBlocks(blocks);
  return (left + left / StepBlocks(left)) * kBlockLanes;
}

// The rest of `sources` trees, 1 or 2: from `blocks` blocks a row in scratch, whose first `lanes`
// lanes count, to dst[row] and, of rows that start source_rows rows further, to dst[apart + row].
__aicore__ inline void ClimbTrees(const LocalTensor<float>& dst, int32_t apart, int32_t sources,
                                  int32_t rows, int32_t source_rows, int32_t blocks, int32_t lanes,
                                  const LocalTensor<float>& scratch, bool many) {
  // The last repeat of a level may look past its rows, at lanes that its mask leaves out; dst does
  // not lie there.
  const int32_t second = sources * source_rows * blocks * kBlockLanes + kTreeSlack;
  const int32_t all_rows = (sources - 1) * source_rows + rows;
  int32_t from = 0;
  while (blocks > kBlockLanes || (many && blocks > 1)) {
    const int32_t step = StepBlocks(blocks);
    const int32_t to = from == 0 ? second : 0;
    SumBlocks(scratch[to], scratch[from], all_rows * (blocks / step), step, lanes);
    Order();
    blocks /= step;
    lanes = step;
    from = to;
  }
  const int32_t stride = source_rows * blocks;
  if (sources == 2 && rows == 1 && stride <= kMaxStride) {
    const TreeMask mask(blocks, lanes);
    AscendC::WholeReduceSum(dst, scratch[from], mask.bits, 2, apart, 1, stride);
    return;
  }
  if (sources == 2 && rows == source_rows && rows == apart && rows % kBlockLanes == 0) {
    FinishTree(dst, scratch[from], 2 * rows, blocks, lanes, many);
    return;
  }
  for (int32_t source = 0; source < sources; ++source) {
    FinishTree(dst[source * apart], scratch[from + source * stride * kBlockLanes], rows, blocks,
               lanes, many);
  }
}

// dst[row] = sum over a row of a and, with kPair, dst[apart + row] likewise of b. The sources stay
// as they are. Scratch holds kSources * TreeLanes a row and kTreeSlack; kMaxRepeats rows at most.
// `aligned`: both results start on blocks.
template <bool kPair>
__aicore__ inline void SumTrees(const LocalTensor<float>& dst, int32_t apart,
                                const LocalTensor<float>& a, const LocalTensor<float>& b,
                                int32_t rows, int32_t pitch, const LocalTensor<float>& scratch,
                                bool aligned) {
  const bool many = aligned && rows >= kBlockReduceRows;
  const int32_t blocks = pitch / kBlockLanes;
  if (blocks > kBlockLanes || (many && blocks > 1)) {
    const int32_t step = StepBlocks(blocks);
    const int32_t repeats = rows * (blocks / step);
    SumBlocks(scratch, a, repeats, step, kBlockLanes);
    if constexpr (kPair) SumBlocks(scratch[repeats * kBlockLanes], b, repeats, step, kBlockLanes);
    Order();
    ClimbTrees(dst, apart, kPair ? 2 : 1, rows, rows, blocks / step, step, scratch, many);
  } else {
    FinishTree(dst, a, rows, blocks, kBlockLanes, many);
    if constexpr (kPair) FinishTree(dst[apart], b, rows, blocks, kBlockLanes, many);
  }
  Order();
}

// dst = the sums of the rows' segments of `lanes` lanes, lane by lane: an instruction takes one
// segment of all rows. Rows have more than one segment; kMaxRepeats rows at most.
template <bool kProduct>
__aicore__ inline void FoldSegments(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                    int32_t lanes) {
  const int32_t stride = pitch / kBlockLanes;
  const int32_t out = lanes / kBlockLanes;
  int32_t next = lanes;
  if constexpr (kProduct) {
    RunRepeats<MultiplyOp>(dst, a, b, lanes, rows,
                           BinaryRepeatParams(1, 1, 1, out, stride, stride));
  } else if (pitch >= 2 * lanes) {
    RunRepeats<AddOp>(dst, a, a[lanes], lanes, rows,
                      BinaryRepeatParams(1, 1, 1, out, stride, stride));
    next = 2 * lanes;
  } else {
    AscendC::Adds(dst, a, 0.0f, static_cast<uint64_t>(lanes), rows,
                  AscendC::UnaryRepeatParams(1, 1, out, stride));
  }
  for (; next < pitch; next += lanes) {
    const int32_t mask = MinOf(pitch - next, lanes);
    Order();
    if constexpr (kProduct) {
      RunRepeats<AddProductOp>(dst, a[next], b[next], mask, rows,
                               BinaryRepeatParams(1, 1, 1, out, stride, stride));
    } else {
      RunRepeats<AddOp>(dst, dst, a[next], mask, rows,
                        BinaryRepeatParams(1, 1, 1, out, out, stride));
    }
  }
  Order();
}

// Many rows of several repeats.
template <bool kProduct>
__aicore__ inline void SumManyRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                   const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                   const LocalTensor<float>& scratch, int32_t scratch_elems) {
  const int32_t batch =
      MinOf((scratch_elems - kTreeSlack) / (kLanes + TreeLanes(kBlockLanes)), kMaxRepeats);
  for (int32_t row = 0; row < rows; row += batch) {
    const int32_t count = MinOf(rows - row, batch);
    const int32_t at = row * pitch;
    FoldSegments<kProduct>(scratch, a[at], b[at], count, pitch, kLanes);
    SumTrees<false>(dst[row], 0, scratch, scratch, count, kLanes, scratch[count * kLanes], false);
  }
}

// Few long rows: each folded to a power of two of lanes, as many as scratch holds beside their
// tree.
template <bool kProduct>
__aicore__ inline void SumLongRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                   const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                   const LocalTensor<float>& scratch, int32_t scratch_elems) {
  int32_t width = kLanes;
  while (2 * width + 2 * width / 4 <= scratch_elems && (kProduct ? 2 : 4) * width <= pitch) {
    width *= 2;
  }
  for (int32_t row = 0; row < rows; ++row) {
    const int32_t at = row * pitch;
    int32_t next = width;
    if constexpr (kProduct) {
      AscendC::Mul(scratch, a[at], b[at], width);
    } else {
      AscendC::Add(scratch, a[at], a[at + width], width);
      next = 2 * width;
    }
    for (; next < pitch; next += width) {
      const int32_t count = MinOf(pitch - next, width);
      Order();
      if constexpr (kProduct) {
        AscendC::MulAddDst(scratch, a[at + next], b[at + next], count);
      } else {
        AscendC::Add(scratch, scratch, a[at + next], count);
      }
    }
    Order();
    SumTrees<false>(dst[row], 0, scratch, scratch, 1, width, scratch[width], false);
  }
}

// Rows of a tree at once: whole blocks of results if it can be.
__aicore__ inline int32_t TreeBatch(int32_t elems, int32_t lanes) {
  const int32_t rows = MinOf(elems / lanes, kMaxRepeats);
  return rows < kBlockLanes ? rows : rows / kBlockLanes * kBlockLanes;
}

// dst[row] = sum over a row of a, or of a * b. Every lane of the pitch counts: padding must be zero
// in a. `aligned`: dst starts on a block; it must when the pitch is at most kNarrowBlocks blocks,
// and may then have up to seven lanes after the last row set to zero.
template <bool kProduct>
__aicore__ inline void SumRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                               const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                               const LocalTensor<float>& scratch, int32_t scratch_elems,
                               bool aligned) {
  const int32_t blocks = pitch / kBlockLanes;
  const int32_t chunks = (pitch + kLanes - 1) / kLanes;
  if (aligned && blocks <= kNarrowBlocks) {
    SumNarrowRows<kProduct>(dst, a, b, rows, blocks, scratch, scratch_elems);
    return;
  }
  if (HasTree(blocks)) {
    const int32_t most =
        TreeBatch(scratch_elems - kTreeSlack, TreeLanes(blocks) + (kProduct ? pitch : 0));
    for (int32_t row = 0; most > 0 && row < rows; row += most) {
      const int32_t count = MinOf(rows - row, most);
      const int32_t at = row * pitch;
      const bool blockwise = aligned && row % kBlockLanes == 0;
      if constexpr (kProduct) {
        AscendC::Mul(scratch, a[at], b[at], count * pitch);
        Order();
        SumTrees<false>(dst[row], 0, scratch, scratch, count, pitch, scratch[count * pitch],
                        blockwise);
      } else {
        SumTrees<false>(dst[row], 0, a[at], a[at], count, pitch, scratch, blockwise);
      }
    }
    if (most > 0) return;
  }
  if (blocks <= kMaxStride && (chunks <= kRowModeSteps * rows || pitch < 2 * kLanes)) {
    SumManyRows<kProduct>(dst, a, b, rows, pitch, scratch, scratch_elems);
  } else {
    SumLongRows<kProduct>(dst, a, b, rows, pitch, scratch, scratch_elems);
  }
}

// Lanes to which rows are folded before their trees when they have two to four equal segments: long
// instructions on many rows; 0 otherwise.
__aicore__ inline int32_t FoldedLanes(int32_t rows, int32_t blocks) {
  const int32_t step = StepBlocks(blocks);
  const int32_t segments = blocks / step;
  const bool folds =
      rows >= kBlockReduceRows && segments > 1 && segments <= 4 && blocks <= kMaxStride;
  return folds ? step * kBlockLanes : 0;
}

// Both sums of rows that have a tree: of a, and `apart` lanes further those of a * b, which it may
// overwrite if b_is_free. False if scratch is too small.
__aicore__ inline bool SumRowsAndProducts(const LocalTensor<float>& sums, int32_t apart,
                                          const LocalTensor<float>& a, const LocalTensor<float>& b,
                                          int32_t rows, int32_t pitch, bool b_is_free,
                                          const LocalTensor<float>& scratch, int32_t scratch_elems,
                                          bool aligned) {
  const int32_t folded = FoldedLanes(rows, pitch / kBlockLanes);
  const int32_t width = folded > 0 ? folded : pitch;
  const int32_t kept = folded > 0 ? 2 * folded : (b_is_free ? 0 : pitch);
  const int32_t batch =
      TreeBatch(scratch_elems - kTreeSlack, kept + 2 * TreeLanes(width / kBlockLanes));
  if (batch <= 0) return false;
  for (int32_t row = 0; row < rows; row += batch) {
    const int32_t count = MinOf(rows - row, batch);
    const int32_t at = row * pitch;
    const bool blockwise = aligned && row % kBlockLanes == 0;
    const LocalTensor<float> tree = scratch[count * kept];
    if (folded > 0) {
      const LocalTensor<float> product = scratch[count * folded];
      FoldSegments<false>(scratch, a[at], a[at], count, pitch, folded);
      FoldSegments<true>(product, a[at], b[at], count, pitch, folded);
      SumTrees<true>(sums[row], apart, scratch, product, count, folded, tree, blockwise);
    } else {
      const LocalTensor<float> product = b_is_free ? b[at] : scratch;
      AscendC::Mul(product, a[at], b[at], count * pitch);
      Order();
      SumTrees<true>(sums[row], apart, a[at], product, count, pitch, tree, blockwise);
    }
  }
  return true;
}

}  // namespace group_norm_grad
