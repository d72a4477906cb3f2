// Vector instructions over rows in the unified buffer: broadcasts along a row, rows added to rows.
// float32 only; no data movement, no flags.
#pragma once

#include "kernel_operator.h"

namespace group_norm_grad {

using AscendC::BinaryRepeatParams;
using AscendC::LocalTensor;

constexpr int32_t kLanes = 64;      // float32 lanes of one repeat
constexpr int32_t kBlockLanes = 8;  // float32 lanes of one 32-byte block
constexpr int32_t kMaxRepeats = 255;
constexpr int32_t kMaxStride = 255;    // of a repeat, in blocks
constexpr int32_t kStartRepeats = 24;  // that an instruction's start takes as long as
constexpr int32_t kNarrowBlocks =
    4;  // rows up to this wide are taken eight at a time, one block column an instruction

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

// dst = b * dst + a, b broadcast. Cheaper than AddProductOp where one block of b serves many
// repeats: it is read once, which leaves two reads a repeat.
struct ScaleAddOp {
  static constexpr bool kBlockFirst = false;
  static __aicore__ inline void Run(const LocalTensor<float>& dst, const LocalTensor<float>& a,
                                    const LocalTensor<float>& b, uint64_t mask, int32_t repeats,
                                    const BinaryRepeatParams& params) {
    AscendC::FusedMulAdd(
        dst, b, a, mask, repeats,
        BinaryRepeatParams(params.dstBlkStride, params.src1BlkStride, params.src0BlkStride,
                           params.dstRepStride, params.src1RepStride, params.src0RepStride));
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

// The largest number of blocks, up to one repeat, that divides `blocks`.
__aicore__ inline int32_t StepBlocks(int32_t blocks) {
  int32_t step = blocks < kBlockLanes ? blocks : kBlockLanes;
  while (blocks % step != 0) --step;
  return step;
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
    // Rows of equal repeats if the shorter repeats cost less than the start of an instruction for
    // the rest; else whole ones and a rest.
    const int32_t equal = StepBlocks(blocks);
    const bool shorter = blocks / equal - blocks / kBlockLanes <= kStartRepeats;
    const int32_t repeat_blocks = shorter ? equal : kBlockLanes;
    const int32_t lanes = repeat_blocks * kBlockLanes;
    const int32_t first_block = Op::kBlockFirst ? 0 : 1;
    const BinaryRepeatParams params(1, first_block, 0, repeat_blocks, first_block * repeat_blocks,
                                    0);
    const int32_t full = blocks / repeat_blocks;
    const int32_t rest = pitch - full * lanes;
    for (int32_t row = 0; row < rows; ++row) {
      const int32_t at = row * pitch;
      const int32_t tail = at + full * lanes;
      const int32_t coefficient = row * step * kBlockLanes;
      if constexpr (Op::kBlockFirst) {
        RunRepeats<Op>(dst[at], a[coefficient], b[coefficient], lanes, full, params);
        if (rest > 0) RunRepeats<Op>(dst[tail], a[coefficient], b[coefficient], rest, 1, params);
      } else {
        RunRepeats<Op>(dst[at], a[at], b[coefficient], lanes, full, params);
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
