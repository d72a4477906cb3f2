// The vector instructions of Ascend C in their count, contiguous-mask and bit-mask forms. Each
// becomes one Instr on pipe V. Types and limits are checked where the instruction is issued, not
// here, so that a wrong call is a finding with a place.
#pragma once

#include "sync.h"
#include "tensor.h"

namespace executor {

inline Instr MakeVector(Op op, Where where) {
  Instr instr;
  instr.op = op;
  instr.pipe = Pipe::kV;
  instr.where = where;
  instr.saturate = CurrentCore().registers().saturate;
  return instr;
}

// `Op(dst, ..., n)`: counter mode for this instruction; on 2201 the mask registers are back at
// their reset values after it.
inline void IssueCount(Instr& instr, int64_t elements) {
  instr.count_form = true;
  instr.mask_mode = MaskMode::kCounter;
  instr.count = elements > 0 ? static_cast<uint64_t>(elements) : 0;
  instr.mask_argument = elements;
  Core& core = CurrentCore();
  if (core.device().arch == 2201) {
    Registers& registers = core.registers();
    registers.mask_mode = MaskMode::kNormal;
    registers.mask[0] = registers.mask[1] = ~0ull;
    registers.mask_explicit = false;
  }
  core.Issue(instr);
}

inline void IssueWithRegisters(Instr& instr, int64_t repeat) {
  const Registers& registers = CurrentCore().registers();
  instr.repeat = repeat;
  instr.mask_mode = registers.mask_mode;
  instr.mask[0] = registers.mask[0];
  instr.mask[1] = registers.mask[1];
  instr.count = registers.mask[0];  // counter mode keeps the element count in the low half
  CurrentCore().Issue(instr);
}

template <bool isSetMask>
void IssueMasked(Instr& instr, const uint64_t mask[], const Field<uint8_t>& repeat) {
  instr.sets_mask = isSetMask;
  if constexpr (isSetMask) {
    Registers& registers = CurrentCore().registers();
    registers.mask[0] = mask[0];
    registers.mask[1] = mask[1];
    registers.mask_explicit = false;
  }
  IssueWithRegisters(instr, Take(instr, "repeatTimes", repeat));
}

template <bool isSetMask>
void IssueMasked(Instr& instr, uint64_t lanes, const Field<uint8_t>& repeat) {
  if constexpr (isSetMask) instr.mask_argument = static_cast<int64_t>(lanes);
  const uint64_t mask[2] = {lanes >= 64 ? ~0ull : (1ull << lanes) - 1,
                            lanes <= 64    ? 0
                            : lanes >= 128 ? ~0ull
                                           : (1ull << (lanes - 64)) - 1};
  IssueMasked<isSetMask>(instr, mask, repeat);
}

inline void SetStrides(Instr& instr, const AscendC::BinaryRepeatParams& params) {
  instr.dst.blk_stride = Take(instr, "dstBlkStride", params.dstBlkStride);
  instr.dst.rep_stride = Take(instr, "dstRepStride", params.dstRepStride);
  instr.src0.blk_stride = Take(instr, "src0BlkStride", params.src0BlkStride);
  instr.src0.rep_stride = Take(instr, "src0RepStride", params.src0RepStride);
  instr.src1.blk_stride = Take(instr, "src1BlkStride", params.src1BlkStride);
  instr.src1.rep_stride = Take(instr, "src1RepStride", params.src1RepStride);
}

inline void SetStrides(Instr& instr, const AscendC::UnaryRepeatParams& params) {
  instr.dst.blk_stride = Take(instr, "dstBlkStride", params.dstBlkStride);
  instr.dst.rep_stride = Take(instr, "dstRepStride", params.dstRepStride);
  instr.src0.blk_stride = Take(instr, "srcBlkStride", params.srcBlkStride);
  instr.src0.rep_stride = Take(instr, "srcRepStride", params.srcRepStride);
}

// Contiguous operands of unlike width: the narrower one moves fewer blocks a repeat.
inline void SetContiguous(Instr& instr) {
  uint32_t widest = 1;
  for (const UbOperand* operand : {&instr.dst, &instr.src0, &instr.src1}) {
    if (operand->present) widest = std::max(widest, SizeOf(operand->type));
  }
  for (UbOperand* operand : {&instr.dst, &instr.src0, &instr.src1}) {
    if (!operand->present) continue;
    operand->blk_stride = 1;
    operand->rep_stride = static_cast<int32_t>(8 * SizeOf(operand->type) / widest);
  }
}

template <class T, class U>
Instr MakeUnary(Op op, const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<U>& src,
                Where where) {
  Instr instr = MakeVector(op, where);
  instr.dst = dst.operand();
  instr.src0 = src.operand();
  SetContiguous(instr);
  return instr;
}

template <class T, class U>
Instr MakeBinary(Op op, const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<U>& src0,
                 const AscendC::LocalTensor<U>& src1, Where where) {
  Instr instr = MakeUnary(op, dst, src0, where);
  instr.src1 = src1.operand();
  SetContiguous(instr);
  return instr;
}

template <class T, class U>
Instr MakeScalar(Op op, const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<U>& src,
                 const U& scalar, Where where) {
  Instr instr = MakeUnary(op, dst, src, where);
  instr.scalar = ScalarOf(scalar);
  instr.scalar_bits = BitsOf(scalar);
  return instr;
}

template <bool isSetMask, class Mask, class T>
void IssueReduction(Op op, const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                    const Mask& mask, int32_t repeat, int32_t dst_rep, int32_t src_blk,
                    int32_t src_rep, Where where) {
  Instr instr = MakeUnary(op, dst, src, where);
  instr.dst.rep_stride = dst_rep;
  instr.src0.blk_stride = src_blk;
  instr.src0.rep_stride = src_rep;
  IssueMasked<isSetMask>(instr, mask, repeat);
}

}  // namespace executor

namespace AscendC {

using executor::Where;

#define EXECUTOR_BINARY(NAME)                                                                    \
  template <typename T, bool isSetMask = true>                                                   \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src0,                        \
                   const LocalTensor<T>& src1, const uint64_t mask[],                            \
                   const Field<uint8_t> repeatTimes, const BinaryRepeatParams& repeatParams,     \
                   Where where = Where::current()) {                                             \
    executor::Instr instr = executor::MakeBinary(executor::Op::k##NAME, dst, src0, src1, where); \
    executor::SetStrides(instr, repeatParams);                                                   \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                  \
  }                                                                                              \
  template <typename T, bool isSetMask = true>                                                   \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src0,                        \
                   const LocalTensor<T>& src1, uint64_t mask, const Field<uint8_t> repeatTimes,  \
                   const BinaryRepeatParams& repeatParams, Where where = Where::current()) {     \
    executor::Instr instr = executor::MakeBinary(executor::Op::k##NAME, dst, src0, src1, where); \
    executor::SetStrides(instr, repeatParams);                                                   \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                  \
  }                                                                                              \
  template <typename T>                                                                          \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src0,                        \
                   const LocalTensor<T>& src1, const int32_t& calCount,                          \
                   Where where = Where::current()) {                                             \
    executor::Instr instr = executor::MakeBinary(executor::Op::k##NAME, dst, src0, src1, where); \
    executor::IssueCount(instr, calCount);                                                       \
  }

EXECUTOR_BINARY(Add)
EXECUTOR_BINARY(Sub)
EXECUTOR_BINARY(Mul)
EXECUTOR_BINARY(Div)
EXECUTOR_BINARY(Max)
EXECUTOR_BINARY(Min)
EXECUTOR_BINARY(FusedMulAdd)
#undef EXECUTOR_BINARY

template <typename T, typename U, bool isSetMask = true>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0,
                      const LocalTensor<U>& src1, const uint64_t mask[],
                      const Field<uint8_t> repeatTimes, const BinaryRepeatParams& repeatParams,
                      Where where = Where::current()) {
  executor::Instr instr = executor::MakeBinary(executor::Op::kMulAddDst, dst, src0, src1, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, typename U, bool isSetMask = true>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0,
                      const LocalTensor<U>& src1, uint64_t mask, const Field<uint8_t> repeatTimes,
                      const BinaryRepeatParams& repeatParams, Where where = Where::current()) {
  executor::Instr instr = executor::MakeBinary(executor::Op::kMulAddDst, dst, src0, src1, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, typename U>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0,
                      const LocalTensor<U>& src1, const int32_t& calCount,
                      Where where = Where::current()) {
  executor::Instr instr = executor::MakeBinary(executor::Op::kMulAddDst, dst, src0, src1, where);
  executor::IssueCount(instr, calCount);
}

#define EXECUTOR_UNARY(NAME)                                                                      \
  template <typename T, bool isSetMask = true>                                                    \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask[],   \
                   const Field<uint8_t> repeatTimes, const UnaryRepeatParams& repeatParams,       \
                   Where where = Where::current()) {                                              \
    executor::Instr instr = executor::MakeUnary(executor::Op::k##NAME, dst, src, where);          \
    executor::SetStrides(instr, repeatParams);                                                    \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                   \
  }                                                                                               \
  template <typename T, bool isSetMask = true>                                                    \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask,           \
                   const Field<uint8_t> repeatTimes, const UnaryRepeatParams& repeatParams,       \
                   Where where = Where::current()) {                                              \
    executor::Instr instr = executor::MakeUnary(executor::Op::k##NAME, dst, src, where);          \
    executor::SetStrides(instr, repeatParams);                                                    \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                   \
  }                                                                                               \
  template <typename T>                                                                           \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t& calCount, \
                   Where where = Where::current()) {                                              \
    executor::Instr instr = executor::MakeUnary(executor::Op::k##NAME, dst, src, where);          \
    executor::IssueCount(instr, calCount);                                                        \
  }

EXECUTOR_UNARY(Abs)
EXECUTOR_UNARY(Sqrt)
EXECUTOR_UNARY(Rsqrt)
EXECUTOR_UNARY(Reciprocal)
EXECUTOR_UNARY(Exp)
EXECUTOR_UNARY(Ln)
EXECUTOR_UNARY(Relu)
#undef EXECUTOR_UNARY

#define EXECUTOR_SCALAR(NAME)                                                                  \
  template <typename T, bool isSetMask = true>                                                 \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, \
                   const uint64_t mask[], const Field<uint8_t> repeatTimes,                    \
                   const UnaryRepeatParams& repeatParams, Where where = Where::current()) {    \
    executor::Instr instr =                                                                    \
        executor::MakeScalar(executor::Op::k##NAME, dst, src, scalarValue, where);             \
    executor::SetStrides(instr, repeatParams);                                                 \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                \
  }                                                                                            \
  template <typename T, bool isSetMask = true>                                                 \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, \
                   uint64_t mask, const Field<uint8_t> repeatTimes,                            \
                   const UnaryRepeatParams& repeatParams, Where where = Where::current()) {    \
    executor::Instr instr =                                                                    \
        executor::MakeScalar(executor::Op::k##NAME, dst, src, scalarValue, where);             \
    executor::SetStrides(instr, repeatParams);                                                 \
    executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);                                \
  }                                                                                            \
  template <typename T, bool isSetMask = true>                                                 \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, \
                   const int32_t& calCount, Where where = Where::current()) {                  \
    executor::Instr instr =                                                                    \
        executor::MakeScalar(executor::Op::k##NAME, dst, src, scalarValue, where);             \
    if constexpr (isSetMask) {                                                                 \
      executor::IssueCount(instr, calCount);                                                   \
    } else {                                                                                   \
      instr.sets_mask = false;                                                                 \
      executor::IssueWithRegisters(instr, 1);                                                  \
    }                                                                                          \
  }

EXECUTOR_SCALAR(Adds)
EXECUTOR_SCALAR(Muls)
EXECUTOR_SCALAR(Maxs)
EXECUTOR_SCALAR(Mins)
#undef EXECUTOR_SCALAR

template <typename T, typename U, bool isSetMask = true>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue,
                 const uint64_t mask[], const Field<uint8_t> repeatTimes,
                 const UnaryRepeatParams& repeatParams, Where where = Where::current()) {
  executor::Instr instr = executor::MakeScalar(executor::Op::kAxpy, dst, src, scalarValue, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, typename U, bool isSetMask = true>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue,
                 uint64_t mask, const Field<uint8_t> repeatTimes,
                 const UnaryRepeatParams& repeatParams, Where where = Where::current()) {
  executor::Instr instr = executor::MakeScalar(executor::Op::kAxpy, dst, src, scalarValue, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, typename U>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue,
                 const int32_t& calCount, Where where = Where::current()) {
  executor::Instr instr = executor::MakeScalar(executor::Op::kAxpy, dst, src, scalarValue, where);
  executor::IssueCount(instr, calCount);
}

}  // namespace AscendC
