// Vector instructions that convert, fill, copy, broadcast, gather and reduce.
// The elementwise arithmetic and the helpers that issue masks are in vector.h.
#pragma once

#include "vector.h"

namespace executor {

template <class T1, class T2>
Instr MakeCast(const AscendC::LocalTensor<T1>& dst, const AscendC::LocalTensor<T2>& src,
               AscendC::RoundMode mode, Where where) {
  constexpr Type kTo = TypeOf<T1>();
  constexpr Type kFrom = TypeOf<T2>();
  constexpr bool kNarrow = kTo == Type::kHalf || kTo == Type::kBf16;
  constexpr bool kFromNarrow = kFrom == Type::kHalf || kFrom == Type::kBf16;
  static_assert(
      (kFrom == Type::kFloat && (kNarrow || kTo == Type::kFloat || kTo == Type::kInt32)) ||
          (kFromNarrow && (kTo == Type::kFloat || (kNarrow && kTo != kFrom))) ||
          (kFrom == Type::kInt32 && kTo == Type::kFloat),
      "this Cast is outside the executor's subset");
  Instr instr = MakeUnary(Op::kCast, dst, src, where);
  instr.rounding = static_cast<Rounding>(mode);
  return instr;
}

template <class T>
Instr MakeDuplicate(const AscendC::LocalTensor<T>& dst, const T& scalar, Where where) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Duplicate takes 16- and 32-bit types");
  Instr instr = MakeVector(Op::kDuplicate, where);
  instr.dst = dst.operand();
  SetContiguous(instr);
  instr.scalar_bits = BitsOf(scalar);
  return instr;
}

inline void SetStrides(Instr& instr, const Field<uint16_t>& dst_block,
                       const Field<uint8_t>& dst_repeat) {
  instr.dst.blk_stride = Take(instr, "dstBlockStride", dst_block);
  instr.dst.rep_stride = Take(instr, "dstRepeatStride", dst_repeat);
}

template <class T>
Instr MakeCopy(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
               const AscendC::CopyRepeatParams& params, Where where) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Copy takes 16- and 32-bit types");
  Instr instr = MakeUnary(Op::kCopy, dst, src, where);
  instr.dst.blk_stride = Take(instr, "dstStride", params.dstStride);
  instr.dst.rep_stride = Take(instr, "dstRepeatSize", params.dstRepeatSize);
  instr.src0.blk_stride = Take(instr, "srcStride", params.srcStride);
  instr.src0.rep_stride = Take(instr, "srcRepeatSize", params.srcRepeatSize);
  return instr;
}

template <class T>
Instr MakeGather(const AscendC::LocalTensor<T>& dst, const AscendC::LocalTensor<T>& src,
                 const AscendC::LocalTensor<uint32_t>& offsets, uint32_t base, Where where) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Gather takes 16- and 32-bit types");
  Instr instr = MakeVector(Op::kGather, where);
  instr.dst = dst.operand();
  instr.src0 = src.operand();
  instr.src1 = offsets.operand();
  SetContiguous(instr);
  instr.gather_base = base;
  return instr;
}

}  // namespace executor

namespace AscendC {

template <typename T1, typename T2, bool isSetMask = true>
inline void Cast(const LocalTensor<T1>& dst, const LocalTensor<T2>& src,
                 const RoundMode& round_mode, const uint64_t mask[],
                 const Field<uint8_t> repeatTimes, const UnaryRepeatParams& repeatParams,
                 Where where = Where::current()) {
  executor::Instr instr = executor::MakeCast(dst, src, round_mode, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T1, typename T2, bool isSetMask = true>
inline void Cast(const LocalTensor<T1>& dst, const LocalTensor<T2>& src,
                 const RoundMode& round_mode, const uint64_t mask, const Field<uint8_t> repeatTimes,
                 const UnaryRepeatParams& repeatParams, Where where = Where::current()) {
  executor::Instr instr = executor::MakeCast(dst, src, round_mode, where);
  executor::SetStrides(instr, repeatParams);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T1, typename T2>
inline void Cast(const LocalTensor<T1>& dst, const LocalTensor<T2>& src,
                 const RoundMode& round_mode, const uint32_t calCount,
                 Where where = Where::current()) {
  executor::Instr instr = executor::MakeCast(dst, src, round_mode, where);
  executor::IssueCount(instr, calCount);
}

template <typename T, bool isSetMask = true>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask,
                      const Field<uint8_t> repeatTimes, const Field<uint16_t> dstBlockStride,
                      const Field<uint8_t> dstRepeatStride, Where where = Where::current()) {
  executor::Instr instr = executor::MakeDuplicate(dst, scalarValue, where);
  executor::SetStrides(instr, dstBlockStride, dstRepeatStride);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, bool isSetMask = true>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, const uint64_t mask[],
                      const Field<uint8_t> repeatTimes, const Field<uint16_t> dstBlockStride,
                      const Field<uint8_t> dstRepeatStride, Where where = Where::current()) {
  executor::Instr instr = executor::MakeDuplicate(dst, scalarValue, where);
  executor::SetStrides(instr, dstBlockStride, dstRepeatStride);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, const int32_t& calCount,
                      Where where = Where::current()) {
  executor::Instr instr = executor::MakeDuplicate(dst, scalarValue, where);
  executor::IssueCount(instr, calCount);
}

template <typename T, bool isSetMask = true>
inline void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask[],
                 const Field<uint8_t> repeatTimes, const CopyRepeatParams& repeatParams,
                 Where where = Where::current()) {
  executor::Instr instr = executor::MakeCopy(dst, src, repeatParams, where);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T, bool isSetMask = true>
inline void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask,
                 const Field<uint8_t> repeatTimes, const CopyRepeatParams& repeatParams,
                 Where where = Where::current()) {
  executor::Instr instr = executor::MakeCopy(dst, src, repeatParams, where);
  executor::IssueMasked<isSetMask>(instr, mask, repeatTimes);
}

template <typename T>
inline void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                 const Field<uint8_t> repeatTimes, const BrcbRepeatParams& repeatParams,
                 Where where = Where::current()) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Brcb takes 16- and 32-bit types");
  executor::Instr instr = executor::MakeUnary(executor::Op::kBrcb, dst, src, where);
  instr.dst.blk_stride = executor::Take(instr, "dstBlkStride", repeatParams.dstBlkStride);
  instr.dst.rep_stride = executor::Take(instr, "dstRepStride", repeatParams.dstRepStride);
  instr.repeat = executor::Take(instr, "repeatTimes", repeatTimes);
  executor::CurrentCore().Issue(instr);
}

template <typename T>
inline void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                   const LocalTensor<uint32_t>& srcOffset, const uint32_t srcBaseAddr,
                   const uint32_t count, Where where = Where::current()) {
  executor::Instr instr = executor::MakeGather(dst, src, srcOffset, srcBaseAddr, where);
  executor::IssueCount(instr, count);
}

template <typename T>
inline void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                   const LocalTensor<uint32_t>& srcOffset, const uint32_t srcBaseAddr,
                   const uint64_t mask, const Field<uint8_t> repeatTimes,
                   const Field<uint16_t> dstRepStride, Where where = Where::current()) {
  executor::Instr instr = executor::MakeGather(dst, src, srcOffset, srcBaseAddr, where);
  instr.dst.rep_stride = executor::Take(instr, "dstRepStride", dstRepStride);
  executor::IssueMasked<true>(instr, mask, repeatTimes);
}

template <typename T, bool isSetMask = true>
inline void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                           const uint64_t mask[], const int32_t repeatTimes,
                           const int32_t dstRepStride, const int32_t srcBlkStride,
                           const int32_t srcRepStride, Where where = Where::current()) {
  executor::IssueReduction<isSetMask>(executor::Op::kWholeReduceSum, dst, src, mask, repeatTimes,
                                      dstRepStride, srcBlkStride, srcRepStride, where);
}

template <typename T, bool isSetMask = true>
inline void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,
                           const int32_t repeatTimes, const int32_t dstRepStride,
                           const int32_t srcBlkStride, const int32_t srcRepStride,
                           Where where = Where::current()) {
  executor::IssueReduction<isSetMask>(executor::Op::kWholeReduceSum, dst, src,
                                      static_cast<uint64_t>(mask), repeatTimes, dstRepStride,
                                      srcBlkStride, srcRepStride, where);
}

#define EXECUTOR_REDUCTION(NAME)                                                                  \
  template <typename T, bool isSetMask = true>                                                    \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeat,    \
                   const uint64_t mask[], const int32_t dstRepStride, const int32_t srcBlkStride, \
                   const int32_t srcRepStride, Where where = Where::current()) {                  \
    executor::IssueReduction<isSetMask>(executor::Op::k##NAME, dst, src, mask, repeat,            \
                                        dstRepStride, srcBlkStride, srcRepStride, where);         \
  }                                                                                               \
  template <typename T, bool isSetMask = true>                                                    \
  inline void NAME(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeat,    \
                   const int32_t mask, const int32_t dstRepStride, const int32_t srcBlkStride,    \
                   const int32_t srcRepStride, Where where = Where::current()) {                  \
    executor::IssueReduction<isSetMask>(executor::Op::k##NAME, dst, src,                          \
                                        static_cast<uint64_t>(mask), repeat, dstRepStride,        \
                                        srcBlkStride, srcRepStride, where);                       \
  }

EXECUTOR_REDUCTION(BlockReduceSum)
EXECUTOR_REDUCTION(PairReduceSum)
#undef EXECUTOR_REDUCTION

}  // namespace AscendC
