// Moves of rows between global memory and the unified buffer, each in as few DMA instructions as
// the parameter ranges allow. Flags are the caller's.
#pragma once

#include "vector_ops.h"

namespace group_norm_grad {

using AscendC::GlobalTensor;

constexpr int32_t kBlockBytes = 32;
constexpr int32_t kMaxDmaRows = 4095;
constexpr int64_t kMaxDmaGap = 0xffffffffLL;  // bytes between rows, a 32-bit field on 2201

template <class T>
constexpr int32_t kBlockOf = kBlockBytes / static_cast<int32_t>(sizeof(T));  // elements of a block

struct RowShape {
  int32_t rows;
  int32_t cols;    // elements that global memory has of a row
  int32_t pitch;   // elements between row starts in the unified buffer
  int64_t stride;  // elements between row starts in global memory
};

// How a shape splits into instructions: `rows` each, the gaps in the units of the DMA parameters.
struct RowMove {
  int32_t rows;
  uint32_t row_bytes;
  uint32_t gm_gap;
  uint32_t ub_gap;
  int32_t padding;  // elements from a row's end to the next block
};

template <class T>
__aicore__ inline RowMove MakeMove(RowShape& shape) {
  constexpr int32_t kSize = static_cast<int32_t>(sizeof(T));
  if (shape.rows == 1 || (shape.cols == shape.pitch && shape.stride == shape.cols)) {
    shape.cols *= shape.rows;
    shape.pitch = shape.cols;
    shape.stride = shape.cols;
    shape.rows = 1;
  }
  const int32_t padded = RoundUpTo<kBlockOf<T>>(shape.cols);
  const int64_t gap = (shape.stride - shape.cols) * kSize;
  RowMove move;
  move.rows = gap > kMaxDmaGap ? 1 : MinOf(shape.rows, kMaxDmaRows);
  move.row_bytes = static_cast<uint32_t>(shape.cols * kSize);
  move.gm_gap = move.rows == 1 ? 0 : static_cast<uint32_t>(gap);
  move.ub_gap = move.rows == 1 ? 0 : static_cast<uint32_t>((shape.pitch - padded) / kBlockOf<T>);
  move.padding = padded - shape.cols;
  return move;
}

// Rows end in zeros up to the next block; lanes between that and the pitch are left alone.
template <class T>
__aicore__ inline void LoadRows(const LocalTensor<T>& dst, const GlobalTensor<T>& src,
                                int64_t offset, RowShape shape) {
  const RowMove move = MakeMove<T>(shape);
  AscendC::DataCopyPadExtParams<T> pad;
  pad.isPad = move.padding > 0;
  pad.rightPadding = move.padding;
  for (int32_t row = 0; row < shape.rows; row += move.rows) {
    const AscendC::DataCopyExtParams params(
        static_cast<uint16_t>(MinOf(shape.rows - row, move.rows)), move.row_bytes, move.gm_gap,
        move.ub_gap, 0);
    AscendC::DataCopyPad(dst[row * shape.pitch], src[offset + row * shape.stride], params, pad);
  }
}

template <class T>
__aicore__ inline void StoreRows(const GlobalTensor<T>& dst, int64_t offset,
                                 const LocalTensor<T>& src, RowShape shape) {
  const RowMove move = MakeMove<T>(shape);
  for (int32_t row = 0; row < shape.rows; row += move.rows) {
    const AscendC::DataCopyExtParams params(
        static_cast<uint16_t>(MinOf(shape.rows - row, move.rows)), move.row_bytes, move.ub_gap,
        move.gm_gap, 0);
    AscendC::DataCopyPad(dst[offset + row * shape.stride], src[row * shape.pitch], params);
  }
}

}  // namespace group_norm_grad
