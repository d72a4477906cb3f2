// Vector instructions over rows in the unified buffer: broadcasts along a row, sums of rows.
// float32 only; no data movement, no flags.
#pragma once

#include "kernel_operator.h"

namespace group_norm_grad {

using AscendC::BinaryRepeatParams;
using AscendC::LocalTensor;

constexpr int32_t kLanes = 64;      // float32 lanes of one repeat
constexpr int32_t kBlockLanes = 8;  // float32 lanes of one 32-byte block
constexpr int32_t kMaxRepeats = 255;
constexpr int32_t kMaxStride = 255;  // of a repeat, in blocks
constexpr int32_t kNarrowBlocks =
    4;  // rows up to this wide are taken eight at a time, one block column an instruction
constexpr int32_t kFoldLanes = 1024;  // width of the partial sums of one long row
constexpr int32_t kRowModeSteps =
    5;  // instructions that one row costs when rows are summed one at a time

__aicore__ inline int32_t MinOf(int64_t a, int64_t b) {
  return static_cast<int32_t>(a < b ? a : b);
}

__aicore__ inline int64_t MinOf64(int64_t a, int64_t b) { return a < b ? a : b; }

template <int32_t kStep>
__aicore__ inline int32_t RoundUpTo(int32_t value) {
  return (value + kStep - 1) / kStep * kStep;
}

// Orders the vector instructions before it and after it: one that reads or overwrites another's
// result needs it on 2201.
__aicore__ inline void Order() { AscendC::PipeBarrier<PIPE_V>(); }

struct AddOp {
  static constexpr bool kBlockFirst = false;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::Add(dst, a, b, mask, repeats, params);
  }
};

struct SubtractOp {
  static constexpr bool kBlockFirst = false;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::Sub(dst, a, b, mask, repeats, params);
  }
};

struct MultiplyOp {
  static constexpr bool kBlockFirst = false;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::Mul(dst, a, b, mask, repeats, params);
  }
};

// dst += a * b
struct AddProductOp {
  static constexpr bool kBlockFirst = false;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::MulAddDst(dst, a, b, mask, repeats, params);
  }
};

// dst = a * dst + b, both a and b broadcast
struct ScaleShiftOp {
  static constexpr bool kBlockFirst = true;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::FusedMulAdd(dst, a, b, mask, repeats, params);
  }
};

// `count` repeats of the same mask and strides, in as many instructions as the 8-bit repeat count
// asks for.
template <class Op>
__aicore__ inline void RunRepeats(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                  const LocalTensor<float>& b, int32_t mask, int32_t count,
                                  const BinaryRepeatParams& params) {
  for (int32_t done = 0; done < count; done += kMaxRepeats) {
    const int32_t repeats = MinOf(count - done, kMaxRepeats);
    const int32_t first = done * kBlockLanes;
    Op::Run(dst[first * params.dstRepStride], a[first * params.src0RepStride],
            b[first * params.src1RepStride], static_cast<uint64_t>(mask), repeats, params);
  }
}

// Column `column` (one block wide) of rows `pitch` apart: eight rows a repeat. The operand strides
// are in blocks a row.
template <class Op>
__aicore__ inline void RunBlockColumn(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                      const LocalTensor<float>& b, int32_t rows, int32_t dst_step,
                                      int32_t a_step, int32_t b_step) {
  const BinaryRepeatParams params(dst_step, a_step, b_step, dst_step * kBlockLanes,
                                  a_step * kBlockLanes, b_step * kBlockLanes);
  const int32_t full = rows / kBlockLanes;
  const int32_t rest = rows - full * kBlockLanes;
  RunRepeats<Op>(dst, a, b, kLanes, full, params);
  if (rest > 0) {
    const int32_t done = full * kLanes;
    RunRepeats<Op>(dst[done * dst_step], a[done * a_step], b[done * b_step], rest * kBlockLanes, 1,
                   params);
  }
}

// Op over rows of `pitch` lanes where b (and a, when Op takes both so) holds one block of equal
// lanes a row, `step` blocks apart.
template <class Op>
__aicore__ inline void BroadcastRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                     const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                     int32_t step) {
  const int32_t blocks = pitch / kBlockLanes;
  const int32_t chunks = (pitch + kLanes - 1) / kLanes;
  if (rows > 1 && blocks <= kNarrowBlocks && step * kBlockLanes <= kMaxStride) {
    for (int32_t j = 0; j < blocks; ++j) {
      const int32_t at = j * kBlockLanes;
      if constexpr (Op::kBlockFirst) {
        RunBlockColumn<Op>(dst[at], a, b, rows, blocks, step, step);
      } else {
        RunBlockColumn<Op>(dst[at], a[at], b, rows, blocks, blocks, step);
      }
    }
  } else if (blocks <= kMaxStride && chunks <= rows && step <= kMaxStride) {
    for (int32_t at = 0; at < pitch; at += kLanes) {
      const int32_t mask = MinOf(pitch - at, kLanes);
      if constexpr (Op::kBlockFirst) {
        RunRepeats<Op>(dst[at], a, b, mask, rows, BinaryRepeatParams(1, 0, 0, blocks, step, step));
      } else {
        RunRepeats<Op>(dst[at], a[at], b, mask, rows,
                       BinaryRepeatParams(1, 1, 0, blocks, blocks, step));
      }
    }
  } else {
    const int32_t first_block = Op::kBlockFirst ? 0 : 1;
    const BinaryRepeatParams params(1, first_block, 0, kBlockLanes, first_block * kBlockLanes, 0);
    const int32_t full = pitch / kLanes;
    const int32_t rest = pitch - full * kLanes;
    for (int32_t row = 0; row < rows; ++row) {
      const int32_t at = row * pitch;
      const int32_t tail = at + full * kLanes;
      const int32_t coefficient = row * step * kBlockLanes;
      if constexpr (Op::kBlockFirst) {
        RunRepeats<Op>(dst[at], a[coefficient], b[coefficient], kLanes, full, params);
        if (rest > 0) RunRepeats<Op>(dst[tail], a[coefficient], b[coefficient], rest, 1, params);
      } else {
        RunRepeats<Op>(dst[at], a[at], b[coefficient], kLanes, full, params);
        if (rest > 0) RunRepeats<Op>(dst[tail], a[tail], b[coefficient], rest, 1, params);
      }
    }
  }
}

// One block of eight equal lanes for each of the `count` values of src. Reads src up to a multiple
// of eight.
__aicore__ inline void FillBlocks(const LocalTensor<float>& dst, const LocalTensor<float>& src,
                                  int32_t count) {
  const int32_t repeats = (count + kBlockLanes - 1) / kBlockLanes;
  for (int32_t done = 0; done < repeats; done += kMaxRepeats) {
    AscendC::Brcb(dst[done * kLanes], src[done * kBlockLanes], MinOf(repeats - done, kMaxRepeats),
                  AscendC::BrcbRepeatParams(1, kBlockLanes));
  }
}

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

// Rows of at most one repeat: one repeat a row.
template <bool kProduct>
__aicore__ inline void SumShortRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                    const LocalTensor<float>& scratch, int32_t scratch_elems) {
  const int32_t batch = kProduct ? MinOf(scratch_elems / pitch, kMaxRepeats) : kMaxRepeats;
  for (int32_t row = 0; row < rows; row += batch) {
    const int32_t count = MinOf(rows - row, batch);
    const int32_t at = row * pitch;
    if constexpr (kProduct) {
      AscendC::Mul(scratch, a[at], b[at], count * pitch);
      Order();
      AscendC::WholeReduceSum(dst[row], scratch, pitch, count, 1, 1, pitch / kBlockLanes);
    } else {
      AscendC::WholeReduceSum(dst[row], a[at], pitch, count, 1, 1, pitch / kBlockLanes);
    }
    Order();
  }
}

// Many rows of several repeats: all rows' next 64 lanes in one instruction, added up side by side.
template <bool kProduct>
__aicore__ inline void SumManyRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                   const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                   const LocalTensor<float>& scratch, int32_t scratch_elems) {
  const int32_t stride = pitch / kBlockLanes;
  const int32_t batch = MinOf(scratch_elems / kLanes, kMaxRepeats);
  for (int32_t row = 0; row < rows; row += batch) {
    const int32_t count = MinOf(rows - row, batch);
    const int32_t at = row * pitch;
    int32_t next = kLanes;
    if constexpr (kProduct) {
      RunRepeats<MultiplyOp>(scratch, a[at], b[at], kLanes, count,
                             BinaryRepeatParams(1, 1, 1, kBlockLanes, stride, stride));
    } else if (pitch >= 2 * kLanes) {
      RunRepeats<AddOp>(scratch, a[at], a[at + kLanes], kLanes, count,
                        BinaryRepeatParams(1, 1, 1, kBlockLanes, stride, stride));
      next = 2 * kLanes;
    } else {
      AscendC::Adds(scratch, a[at], 0.0f, static_cast<uint64_t>(kLanes), count,
                    AscendC::UnaryRepeatParams(1, 1, kBlockLanes, stride));
    }
    for (; next < pitch; next += kLanes) {
      const int32_t mask = MinOf(pitch - next, kLanes);
      Order();
      if constexpr (kProduct) {
        RunRepeats<AddProductOp>(scratch, a[at + next], b[at + next], mask, count,
                                 BinaryRepeatParams(1, 1, 1, kBlockLanes, stride, stride));
      } else {
        RunRepeats<AddOp>(scratch, scratch, a[at + next], mask, count,
                          BinaryRepeatParams(1, 1, 1, kBlockLanes, kBlockLanes, stride));
      }
    }
    Order();
    AscendC::WholeReduceSum(dst[row], scratch, kLanes, count, 1, 1, kBlockLanes);
    Order();
  }
}

// Few long rows: each folded to at most kFoldLanes, then to blocks, then to one value.
template <bool kProduct>
__aicore__ inline void SumLongRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                   const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                                   const LocalTensor<float>& scratch) {
  int32_t width = kFoldLanes;
  while (2 * width > pitch) width /= 2;
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
    int32_t left = width;
    if (left == kFoldLanes) {
      left = kFoldLanes / 2;
      AscendC::Add(scratch, scratch, scratch[left], left);
      Order();
    }
    if (left > kLanes) {
      AscendC::BlockReduceSum(scratch[kFoldLanes], scratch, left / kLanes, kLanes, 1, 1,
                              kBlockLanes);
      Order();
      AscendC::WholeReduceSum(dst[row], scratch[kFoldLanes], left / kBlockLanes, 1, 1, 1,
                              kBlockLanes);
    } else {
      AscendC::WholeReduceSum(dst[row], scratch, kLanes, 1, 1, 1, kBlockLanes);
    }
    Order();
  }
}

// dst[row] = sum over a row of a, or of a * b. Every lane of the pitch counts: padding must be zero
// in a. dst is 32-byte aligned when the pitch is at most kNarrowBlocks blocks, and may then have up
// to seven lanes after the last row set to zero.
template <bool kProduct>
__aicore__ inline void SumRows(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                               const LocalTensor<float>& b, int32_t rows, int32_t pitch,
                               const LocalTensor<float>& scratch, int32_t scratch_elems) {
  const int32_t blocks = pitch / kBlockLanes;
  const int32_t chunks = (pitch + kLanes - 1) / kLanes;
  if (blocks <= kNarrowBlocks) {
    SumNarrowRows<kProduct>(dst, a, b, rows, blocks, scratch, scratch_elems);
  } else if (pitch <= kLanes) {
    SumShortRows<kProduct>(dst, a, b, rows, pitch, scratch, scratch_elems);
  } else if (blocks <= kMaxStride && (chunks <= kRowModeSteps * rows || pitch < 2 * kLanes)) {
    SumManyRows<kProduct>(dst, a, b, rows, pitch, scratch, scratch_elems);
  } else {
    SumLongRows<kProduct>(dst, a, b, rows, pitch, scratch);
  }
}

// Adds up `rows` rows of `width` lanes into the first, pairwise, in place.
__aicore__ inline void FoldRows(const LocalTensor<float>& data, int32_t rows, int32_t width) {
  while (rows > 1) {
    const int32_t moved = rows / 2;
    rows -= moved;
    AscendC::Add(data, data, data[rows * width], moved * width);
    Order();
  }
}

// dst = sum over rows of a, or of a * b, pairwise; dst holds (rows + 1) / 2 rows and a and b stay
// as they are.
template <bool kProduct>
__aicore__ inline void FoldRowsInto(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, int32_t rows, int32_t width) {
  const int32_t moved = rows / 2;
  const int32_t kept = rows - moved;
  if constexpr (kProduct) {
    AscendC::Mul(dst, a, b, kept * width);
    Order();
    if (moved > 0) {
      AscendC::MulAddDst(dst, a[kept * width], b[kept * width], moved * width);
      Order();
    }
  } else {
    if (moved > 0) AscendC::Add(dst, a, a[kept * width], moved * width);
    if (kept > moved) AscendC::Adds(dst[moved * width], a[moved * width], 0.0f, width);
    Order();
  }
  FoldRows(dst, kept, width);
}

}  // namespace group_norm_grad
