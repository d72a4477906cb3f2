// Conversions between float and the 16-bit formats, by rounding mode, as the vector unit does them.
// Pure functions of bits: no Ascend C name and no executor state may appear here.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace executor {

enum class Rounding : uint8_t { kNone, kRint, kFloor, kCeil, kRound, kTrunc, kOdd };

inline const char* Name(Rounding mode) {
  constexpr const char* kNames[] = {"CAST_NONE",  "CAST_RINT",  "CAST_FLOOR", "CAST_CEIL",
                                    "CAST_ROUND", "CAST_TRUNC", "CAST_ODD"};
  return kNames[static_cast<int>(mode)];
}

inline float HalfToFloat(uint16_t bits) {
  const uint32_t rest = bits & 0x7fffu;
  const float scaled = std::bit_cast<float>(rest << 13) * 0x1p112f;
  const uint32_t special = rest >= 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special |
                              (static_cast<uint32_t>(bits & 0x8000u) << 16));
}

inline float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Round to nearest even without branches, so that loops over it vectorise.
inline uint16_t FloatToHalfRint(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  constexpr uint32_t kMagic = ((127 - 15) + (23 - 10) + 1) << 23;
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + std::bit_cast<float>(kMagic)) -
      kMagic;
  const uint32_t normal =
      (magnitude + (static_cast<uint32_t>(15 - 127) << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >>
      13;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
  result = magnitude >= (143u << 23) ? special : result;
  return static_cast<uint16_t>(result | ((bits >> 16) & 0x8000u));
}

inline uint16_t FloatToBf16Rint(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return static_cast<uint16_t>(nan ? 0x7fc0u : rounded);
}

// Whether the magnitude grows by one unit in the last place when `dropped` of `unit` is cut off it.
inline bool RoundsUp(Rounding mode, bool negative, bool odd, uint32_t dropped, uint32_t unit) {
  const uint32_t middle = unit / 2;
  switch (mode) {
    case Rounding::kNone:
    case Rounding::kRint:
      return dropped > middle || (dropped == middle && odd);
    case Rounding::kFloor:
      return negative && dropped != 0;
    case Rounding::kCeil:
      return !negative && dropped != 0;
    case Rounding::kRound:
      return dropped >= middle;
    case Rounding::kOdd:
      return dropped != 0 && !odd;
    case Rounding::kTrunc:
      break;
  }
  return false;
}

// float to a 16-bit format with kMantissa stored bits whose smallest normal exponent is
// kMinExponent.
template <int kMantissa, int kMinExponent>
uint16_t Narrow(float value, Rounding mode) {
  constexpr uint32_t kInfinity = 0x7fffu >> kMantissa << kMantissa;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(kInfinity | (1u << (kMantissa - 1)));
  if (magnitude == 0x7f800000u) return static_cast<uint16_t>(sign | kInfinity);
  const bool subnormal_source = magnitude < (1u << 23);
  const int exponent = subnormal_source ? -126 : static_cast<int>(magnitude >> 23) - 127;
  const uint32_t significand =
      subnormal_source ? magnitude : ((magnitude & 0x7fffffu) | (1u << 23));
  const int below = exponent < kMinExponent ? kMinExponent - exponent : 0;
  const int drop = std::min(23 - kMantissa + below, 25);
  const uint32_t unit = 1u << drop;
  uint32_t kept = significand >> drop;
  if (RoundsUp(mode, sign != 0, (kept & 1u) != 0, significand & (unit - 1), unit)) ++kept;
  uint32_t result = kept;
  if (below == 0 && !(subnormal_source && kMinExponent <= -126)) {
    result += static_cast<uint32_t>(exponent - kMinExponent) << kMantissa;
  }
  if (result > kInfinity || (result == kInfinity && kept < (2u << kMantissa))) {
    // Above the largest value: a mode that rounds towards zero stays at it.
    const bool grows = RoundsUp(mode, sign != 0, true, unit - 1, unit);
    return static_cast<uint16_t>(sign | (grows ? kInfinity : kInfinity - 1));
  }
  return static_cast<uint16_t>(sign | result);
}

inline uint16_t FloatToHalf(float value, Rounding mode) {
  return mode == Rounding::kRint || mode == Rounding::kNone ? FloatToHalfRint(value)
                                                            : Narrow<10, -14>(value, mode);
}

inline uint16_t FloatToBf16(float value, Rounding mode) {
  return mode == Rounding::kRint || mode == Rounding::kNone ? FloatToBf16Rint(value)
                                                            : Narrow<7, -126>(value, mode);
}

// What CTRL[48] = 0 makes of a 16-bit result: infinity becomes the largest value, NaN becomes 0.
inline uint16_t Saturate(uint16_t bits, uint16_t infinity) {
  const uint16_t magnitude = bits & 0x7fffu;
  if (magnitude < infinity) return bits;
  if (magnitude > infinity) return 0;
  return static_cast<uint16_t>((bits & 0x8000u) | (infinity - 1));
}

constexpr uint16_t kHalfInfinity = 0x7c00;
constexpr uint16_t kBf16Infinity = 0x7f80;

// A float rounded to an integral float.
inline float RoundToIntegral(float value, Rounding mode) {
  switch (mode) {
    case Rounding::kFloor:
      return std::floor(value);
    case Rounding::kCeil:
      return std::ceil(value);
    case Rounding::kRound:
      return std::round(value);
    case Rounding::kTrunc:
      return std::trunc(value);
    case Rounding::kOdd: {
      const float truncated = std::trunc(value);
      const bool odd = std::fmod(truncated, 2.0f) != 0.0f;
      return truncated == value || odd ? truncated : truncated + std::copysign(1.0f, value);
    }
    case Rounding::kNone:
    case Rounding::kRint:
      break;
  }
  return std::nearbyint(value);
}

inline int32_t FloatToInt32(float value, Rounding mode) {
  const float rounded = RoundToIntegral(value, mode);
  if (std::isnan(rounded)) return 0;
  if (rounded >= 0x1p31f) return std::numeric_limits<int32_t>::max();
  if (rounded < -0x1p31f) return std::numeric_limits<int32_t>::min();
  return static_cast<int32_t>(rounded);
}

}  // namespace executor
