// The element types of vector instructions as load, compute and store, and the walk over an
// instruction's lanes. Shared by the exec_*.cpp files only.
#pragma once

#include <cstdint>
#include <cstring>

#include "footprint.h"
#include "instr.h"
#include "numeric.h"

namespace executor {

struct FloatFormat {
  using Storage = float;
  using Compute = float;
  static float Load(float value) { return value; }
  static float Store(float value, bool) { return value; }
};

template <float (*kLoad)(uint16_t), uint16_t (*kStore)(float), uint16_t kInfinity>
struct NarrowFormat {
  using Storage = uint16_t;
  using Compute = float;
  static float Load(uint16_t bits) { return kLoad(bits); }
  static uint16_t Store(float value, bool saturate) {
    const uint16_t bits = kStore(value);
    return saturate ? Saturate(bits, kInfinity) : bits;
  }
};
using HalfFormat = NarrowFormat<HalfToFloat, FloatToHalfRint, kHalfInfinity>;
using Bf16Format = NarrowFormat<Bf16ToFloat, FloatToBf16Rint, kBf16Infinity>;

template <class T>
struct IntFormat {
  using Storage = T;
  using Compute = int64_t;
  static int64_t Load(T value) { return value; }
  static T Store(int64_t value, bool) { return static_cast<T>(value); }
};

// Calls fn(format) for the arithmetic type, or does nothing for a type that has no arithmetic.
template <class F>
void WithFormat(Type type, F&& fn) {
  switch (type) {
    case Type::kFloat:
      return fn(FloatFormat{});
    case Type::kHalf:
      return fn(HalfFormat{});
    case Type::kBf16:
      return fn(Bf16Format{});
    case Type::kInt32:
      return fn(IntFormat<int32_t>{});
    case Type::kInt16:
      return fn(IntFormat<int16_t>{});
    default:
      return;
  }
}

// One operand's position at a lane of a repeat.
class OperandWalk {
 public:
  OperandWalk(const UbOperand& operand, uint8_t* ub)
      : base_(operand.present ? ub + operand.offset : nullptr),
        element_(operand.present ? SizeOf(operand.type) : 1),
        per_block_(kBlockBytes / element_),
        blk_bytes_(static_cast<int64_t>(operand.blk_stride) * kBlockBytes),
        rep_bytes_(static_cast<int64_t>(operand.rep_stride) * kBlockBytes) {}

  bool IsContiguous(uint32_t lanes_per_repeat, bool one_repeat) const {
    return base_ == nullptr ||
           (blk_bytes_ == kBlockBytes &&
            (one_repeat || rep_bytes_ == static_cast<int64_t>(lanes_per_repeat) * element_));
  }

  uint8_t* At(uint32_t repeat, uint32_t lane) const {
    return base_ + repeat * rep_bytes_ + (lane / per_block_) * blk_bytes_ +
           (lane % per_block_) * element_;
  }

  uint32_t per_block() const { return per_block_; }

 private:
  uint8_t* base_;
  uint32_t element_;
  uint32_t per_block_;
  int64_t blk_bytes_;
  int64_t rep_bytes_;
};

// Calls fn(dst, src0, src1, n) for runs of n lanes that are consecutive in every operand, in the
// order of the repeats.
template <class F>
void WalkLanes(const Instr& instr, uint8_t* ub, F&& fn) {
  const Lanes lanes = LanesOf(instr);
  const OperandWalk dst(instr.dst, ub);
  const OperandWalk src0(instr.src0, ub);
  const OperandWalk src1(instr.src1, ub);
  const uint32_t repeats = lanes.Repeats();
  const bool one = repeats == 1;
  const bool full = lanes.contiguous && (one || lanes.lanes == lanes.per_repeat);
  if (full && dst.IsContiguous(lanes.per_repeat, one) && src0.IsContiguous(lanes.per_repeat, one) &&
      src1.IsContiguous(lanes.per_repeat, one)) {
    fn(dst.At(0, 0), src0.At(0, 0), src1.At(0, 0), static_cast<uint32_t>(lanes.Elements()));
    return;
  }
  uint32_t width = dst.per_block();
  if (instr.src0.present) width = std::min(width, src0.per_block());
  if (instr.src1.present) width = std::min(width, src1.per_block());
  for (uint32_t repeat = 0; repeat < repeats; ++repeat) {
    const bool tail = repeat == lanes.repeats;
    const bool by_bits = !tail && !lanes.contiguous;
    const uint32_t active = tail ? lanes.tail_lanes : lanes.lanes;
    const uint32_t stop = by_bits ? lanes.per_repeat : active;
    for (uint32_t lane = 0; lane < stop; lane += by_bits ? 1 : width) {
      if (by_bits && !lanes.Active(lane)) continue;
      fn(dst.At(repeat, lane), src0.At(repeat, lane), src1.At(repeat, lane),
         by_bits ? 1 : std::min(width, stop - lane));
    }
  }
}

}  // namespace executor
