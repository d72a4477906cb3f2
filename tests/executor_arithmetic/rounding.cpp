// Conversions against a search among all values of the 16-bit format, in every round mode.
#include <algorithm>
#include <limits>

#include "bench.h"

namespace arithmetic {
namespace {

using executor::Rounding;

struct Format {
  int mantissa_bits;
  int exponent_bias;
  uint16_t infinity;
};
constexpr Format kHalf = {10, 15, 0x7c00};
constexpr Format kBf16 = {7, 127, 0x7f80};

double Decode(uint16_t bits, const Format& format) {
  const int exponent = (bits & 0x7fff) >> format.mantissa_bits;
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const double hidden = exponent == 0 ? 0.0 : std::ldexp(1.0, format.mantissa_bits);
  const double value = std::ldexp(
      mantissa + hidden, std::max(exponent, 1) - format.exponent_bias - format.mantissa_bits);
  return (bits & 0x8000) != 0 ? -value : value;
}

// The neighbours of |value| are found by bisection; what lies above the largest finite value is
// infinity.
uint16_t Expected(float value, Rounding mode, const Format& format) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(value));
  uint16_t low = 0;
  uint16_t high = format.infinity;
  while (high - low > 1) {
    const uint16_t middle = static_cast<uint16_t>((low + high) / 2);
    (Decode(middle, format) <= magnitude ? low : high) = middle;
  }
  const double below = Decode(low, format);
  const double above = high == format.infinity
                           ? 2 * Decode(static_cast<uint16_t>(high - 1), format) -
                                 Decode(static_cast<uint16_t>(high - 2), format)
                           : Decode(high, format);
  if (below == magnitude) return sign | low;
  const double half_way = (below + above) / 2;
  bool up = false;
  switch (mode) {
    case Rounding::kNone:
    case Rounding::kRint:
      up = magnitude > half_way || (magnitude == half_way && low % 2 == 1);
      break;
    case Rounding::kRound:
      up = magnitude >= half_way;
      break;
    case Rounding::kFloor:
      up = sign != 0;
      break;
    case Rounding::kCeil:
      up = sign == 0;
      break;
    case Rounding::kOdd:
      up = low % 2 == 0;
      break;
    case Rounding::kTrunc:
      break;
  }
  return sign | (up ? high : low);
}

std::vector<float> Inputs(const Format& format) {
  executor::Random random(7);
  std::vector<float> values = {0.0f,     -0.0f,    1.0f,  65504.0f, 65519.9f,
                               65520.0f, 65536.0f, 1e38f, 5e-8f};
  for (int i = 0; i < 20000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random.Next()));
    if (std::isfinite(value)) values.push_back(value);
    // Near the format's own values and half way between two of them.
    const uint16_t bits = static_cast<uint16_t>(random.Below(format.infinity - 1));
    const double below = Decode(bits, format);
    const double above = Decode(static_cast<uint16_t>(bits + 1), format);
    const float middle = static_cast<float>((below + above) / 2);
    values.insert(values.end(), {static_cast<float>(below), middle, -middle,
                                 std::nextafterf(middle, 0.0f), std::nextafterf(middle, 1e38f)});
  }
  return values;
}

std::string CheckFormat(const Format& format, uint16_t (*convert)(float, Rounding)) {
  for (Rounding mode : {Rounding::kNone, Rounding::kRint, Rounding::kFloor, Rounding::kCeil,
                        Rounding::kRound, Rounding::kTrunc, Rounding::kOdd}) {
    for (float value : Inputs(format)) {
      const uint16_t got = convert(value, mode);
      const uint16_t want = Expected(value, mode, format);
      if (got != want) {
        return std::string(Name(mode)) + " of " + std::to_string(value) + ": got " +
               std::to_string(got) + ", want " + std::to_string(want);
      }
    }
  }
  return "";
}

const Register kToHalf("float to half, all modes",
                       [] { return CheckFormat(kHalf, &executor::FloatToHalf); });
const Register kToBf16("float to bfloat16, all modes",
                       [] { return CheckFormat(kBf16, &executor::FloatToBf16); });

const Register kFromNarrow("half and bfloat16 to float, all values", []() -> std::string {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t narrow = static_cast<uint16_t>(bits);
    if ((narrow & 0x7fff) < kHalf.infinity &&
        executor::HalfToFloat(narrow) != static_cast<float>(Decode(narrow, kHalf))) {
      return "half " + std::to_string(bits);
    }
    if ((narrow & 0x7fff) < kBf16.infinity &&
        executor::Bf16ToFloat(narrow) != static_cast<float>(Decode(narrow, kBf16))) {
      return "bfloat16 " + std::to_string(bits);
    }
  }
  const bool special =
      std::isinf(executor::HalfToFloat(0x7c00)) && std::isnan(executor::HalfToFloat(0x7e00)) &&
      executor::FloatToHalfRint(std::numeric_limits<float>::infinity()) == 0x7c00 &&
      (executor::FloatToBf16Rint(std::nanf("")) & 0x7fff) > 0x7f80;
  return special ? "" : "infinity or NaN is lost";
});

const Register kSaturation("CTRL[48] = 0 saturates 16-bit results", [] {
  std::vector<float> x = {1e6f, -1e6f, std::numeric_limits<float>::infinity(), std::nanf(""), 2.0f};
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    SetCtrlSpr<48, 48>(0);
    const LocalTensor<half> narrow = t.b.ReinterpretCast<half>();
    Cast(narrow, t.a, RoundMode::CAST_RINT, 64u);
    PipeBarrier<PIPE_V>();
    Cast(t.d, narrow, RoundMode::CAST_NONE, 64u);
    SetCtrlSpr<48, 48>(1);
  });
  return Compare(outcome, {65504.0f, -65504.0f, 65504.0f, 0.0f, 2.0f});
});

const Register kInfinity("by default 16-bit results keep infinity", [] {
  const Outcome outcome = RunBody({1e6f, -1e6f, 65519.0f}, [](Tensors& t) {
    const LocalTensor<half> narrow = t.b.ReinterpretCast<half>();
    Cast(narrow, t.a, RoundMode::CAST_RINT, 64u);
    PipeBarrier<PIPE_V>();
    Cast(t.d, narrow, RoundMode::CAST_NONE, 64u);
  });
  const float infinity = std::numeric_limits<float>::infinity();
  return Compare(outcome, {infinity, -infinity, 65504.0f});
});

}  // namespace
}  // namespace arithmetic
