// From Ascend C's types to the executor's instructions: the only place where the two vocabularies
// meet.
#pragma once

#include <cstring>

#include "../../core/core.h"
#include "types.h"

namespace executor {

template <class T>
constexpr Type TypeOf() {
  if constexpr (std::is_same_v<T, half>) return Type::kHalf;
  if constexpr (std::is_same_v<T, bfloat16_t>) return Type::kBf16;
  if constexpr (std::is_same_v<T, float>) return Type::kFloat;
  if constexpr (std::is_same_v<T, int8_t>) return Type::kInt8;
  if constexpr (std::is_same_v<T, uint8_t>) return Type::kUint8;
  if constexpr (std::is_same_v<T, int16_t>) return Type::kInt16;
  if constexpr (std::is_same_v<T, uint16_t>) return Type::kUint16;
  if constexpr (std::is_same_v<T, int32_t>) return Type::kInt32;
  if constexpr (std::is_same_v<T, uint32_t>) return Type::kUint32;
  if constexpr (std::is_same_v<T, int64_t>) return Type::kInt64;
  if constexpr (std::is_same_v<T, uint64_t>) return Type::kUint64;
  return Type::kNone;
}

inline void DeclareKernelType(KernelMetaType type) {
  CurrentCore().DeclareCrossCoreScheduler(type == KERNEL_TYPE_MIX_AIV_1_0);
}

// Takes a field's value into an instruction, and notes when it did not fit the field.
template <class T>
T Take(Instr& instr, const char* name, const Field<T>& field) {
  if (field.WasCut() && instr.cut_count < kMostCutFields) {
    instr.cut[instr.cut_count++] = {name, field.passed(), std::numeric_limits<T>::max()};
  }
  return field;
}

template <class T>
uint64_t BitsOf(const T& value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
double ScalarOf(const T& value) {
  if constexpr (std::is_same_v<T, bfloat16_t>) {
    return Bf16ToFloat(value.bits());
  } else if constexpr (std::is_same_v<T, half>) {
    return static_cast<float>(value);
  } else {
    return static_cast<double>(value);
  }
}

constexpr Event EventOf(AscendC::HardEvent event) {
  using AscendC::HardEvent;
  switch (event) {
    case HardEvent::MTE2_V:
      return {Pipe::kMte2, Pipe::kV};
    case HardEvent::V_MTE2:
      return {Pipe::kV, Pipe::kMte2};
    case HardEvent::MTE3_V:
      return {Pipe::kMte3, Pipe::kV};
    case HardEvent::V_MTE3:
      return {Pipe::kV, Pipe::kMte3};
    case HardEvent::V_V:
      return {Pipe::kV, Pipe::kV};
    case HardEvent::MTE3_MTE2:
      return {Pipe::kMte3, Pipe::kMte2};
    case HardEvent::MTE2_MTE3:
      return {Pipe::kMte2, Pipe::kMte3};
    case HardEvent::S_V:
      return {Pipe::kS, Pipe::kV};
    case HardEvent::V_S:
      return {Pipe::kV, Pipe::kS};
    case HardEvent::S_MTE2:
      return {Pipe::kS, Pipe::kMte2};
    case HardEvent::MTE2_S:
      return {Pipe::kMte2, Pipe::kS};
    case HardEvent::S_MTE3:
      return {Pipe::kS, Pipe::kMte3};
    case HardEvent::MTE3_S:
      return {Pipe::kMte3, Pipe::kS};
    case HardEvent::MAX:
      break;
  }
  return {Pipe::kS, Pipe::kS};
}

}  // namespace executor
