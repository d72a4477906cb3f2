// DataCopy and DataCopyPad between GM and UB. Lengths and strides become bytes here; limits are
// checked elsewhere.
#pragma once

#include "tensor.h"

namespace executor {

template <class T>
Instr MakeDma(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
              bool load, DmaForm form, Where where) {
  Instr instr;
  instr.op = load ? Op::kLoad : Op::kStore;
  instr.pipe = load ? Pipe::kMte2 : Pipe::kMte3;
  instr.where = where;
  (load ? instr.dst : instr.src0) = local.operand();
  instr.gm = global.operand();
  instr.dma.form = form;
  instr.dma.hint = global.hint(!load);
  const Registers& registers = CurrentCore().registers();
  instr.saturate = registers.saturate;
  if (!load) {
    instr.dma.atomic = registers.atomic;
    instr.dma.atomic_type = registers.atomic_type;
  }
  return instr;
}

template <class T>
void IssueCopy(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
               bool load, uint32_t elements, Where where) {
  Instr instr = MakeDma(local, global, load, DmaForm::kCount, where);
  instr.dma.requested_bytes = static_cast<uint64_t>(elements) * sizeof(T);
  instr.dma.block_count = 1;
  instr.dma.block_bytes =
      static_cast<uint32_t>(instr.dma.requested_bytes / kBlockBytes * kBlockBytes);
  CurrentCore().Issue(instr);
}

template <class T>
void IssueCopy(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
               bool load, const AscendC::DataCopyParams& params, Where where) {
  Instr instr = MakeDma(local, global, load, DmaForm::kBlocks, where);
  const int64_t blocks = Take(instr, "blockLen", params.blockLen);
  instr.dma.block_count = Take(instr, "blockCount", params.blockCount);
  instr.dma.block_bytes = static_cast<uint32_t>(blocks * kBlockBytes);
  const int64_t src = (blocks + Take(instr, "srcStride", params.srcStride)) * kBlockBytes;
  const int64_t dst = (blocks + Take(instr, "dstStride", params.dstStride)) * kBlockBytes;
  instr.dma.gm_stride = load ? src : dst;
  instr.dma.ub_stride = load ? dst : src;
  CurrentCore().Issue(instr);
}

// Shared by both directions of DataCopyPad: blockLen and the GM stride in bytes, the UB stride in
// blocks of 32 B.
template <class T>
void IssuePad(const AscendC::LocalTensor<T>& local, const AscendC::GlobalTensor<T>& global,
              bool load, const AscendC::DataCopyExtParams& params, bool is_pad, uint32_t left,
              uint32_t right, uint64_t pad_bits, Where where) {
  Instr instr = MakeDma(local, global, load, DmaForm::kPad, where);
  Dma& dma = instr.dma;
  dma.block_count = Take(instr, "blockCount", params.blockCount);
  dma.block_bytes = params.blockLen;
  dma.is_pad = is_pad;
  dma.left_bytes = left * static_cast<uint32_t>(sizeof(T));
  dma.right_bytes = right * static_cast<uint32_t>(sizeof(T));
  dma.pad_bits = pad_bits;
  const int64_t row = static_cast<int64_t>(dma.left_bytes) + dma.block_bytes + dma.right_bytes;
  const int64_t padded = (row + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  const int64_t gm_gap = load ? params.srcStride : params.dstStride;
  const int64_t ub_gap = load ? params.dstStride : params.srcStride;
  dma.gm_stride = dma.block_bytes + gm_gap;
  dma.ub_stride = padded + ub_gap * kBlockBytes;
  CurrentCore().Issue(instr);
}

}  // namespace executor

namespace AscendC {

template <typename T>
inline void DataCopy(const LocalTensor<T>& dstLocal, const GlobalTensor<T>& srcGlobal,
                     const uint32_t calCount, executor::Where where = executor::Where::current()) {
  executor::IssueCopy(dstLocal, srcGlobal, true, calCount, where);
}

template <typename T>
inline void DataCopy(const GlobalTensor<T>& dstGlobal, const LocalTensor<T>& srcLocal,
                     const uint32_t calCount, executor::Where where = executor::Where::current()) {
  executor::IssueCopy(srcLocal, dstGlobal, false, calCount, where);
}

template <typename T>
inline void DataCopy(const LocalTensor<T>& dstLocal, const GlobalTensor<T>& srcGlobal,
                     const DataCopyParams& repeatParams,
                     executor::Where where = executor::Where::current()) {
  executor::IssueCopy(dstLocal, srcGlobal, true, repeatParams, where);
}

template <typename T>
inline void DataCopy(const GlobalTensor<T>& dstGlobal, const LocalTensor<T>& srcLocal,
                     const DataCopyParams& repeatParams,
                     executor::Where where = executor::Where::current()) {
  executor::IssueCopy(srcLocal, dstGlobal, false, repeatParams, where);
}

template <typename T>
inline void DataCopyPad(const LocalTensor<T>& dstLocal, const GlobalTensor<T>& srcGlobal,
                        const DataCopyExtParams& dataCopyParams,
                        const DataCopyPadExtParams<T>& padParams,
                        executor::Where where = executor::Where::current()) {
  executor::IssuePad(dstLocal, srcGlobal, true, dataCopyParams, padParams.isPad,
                     padParams.leftPadding, padParams.rightPadding,
                     executor::BitsOf(padParams.paddingValue), where);
}

template <typename T>
inline void DataCopyPad(const GlobalTensor<T>& dstGlobal, const LocalTensor<T>& srcLocal,
                        const DataCopyExtParams& dataCopyParams,
                        executor::Where where = executor::Where::current()) {
  executor::IssuePad(srcLocal, dstGlobal, false, dataCopyParams, false, 0, 0, 0, where);
}

template <typename T>
inline void DataCopyPad(const LocalTensor<T>& dstLocal, const GlobalTensor<T>& srcGlobal,
                        const DataCopyParams& dataCopyParams, const DataCopyPadParams& padParams,
                        executor::Where where = executor::Where::current()) {
  const DataCopyExtParams params(dataCopyParams.blockCount, dataCopyParams.blockLen,
                                 dataCopyParams.srcStride, dataCopyParams.dstStride, 0);
  executor::IssuePad(dstLocal, srcGlobal, true, params, padParams.isPad, padParams.leftPadding,
                     padParams.rightPadding, padParams.paddingValue, where);
}

template <typename T>
inline void DataCopyPad(const GlobalTensor<T>& dstGlobal, const LocalTensor<T>& srcLocal,
                        const DataCopyParams& dataCopyParams,
                        executor::Where where = executor::Where::current()) {
  const DataCopyExtParams params(dataCopyParams.blockCount, dataCopyParams.blockLen,
                                 dataCopyParams.srcStride, dataCopyParams.dstStride, 0);
  executor::IssuePad(srcLocal, dstGlobal, false, params, false, 0, 0, 0, where);
}

}  // namespace AscendC
