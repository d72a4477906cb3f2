// Arithmetic of the elementwise vector instructions and of Cast, one rounding per instruction.
// Reductions and moves between lanes are in exec_reduce.cpp.
#include <cmath>

#include "exec.h"
#include "formats.h"

namespace executor {

namespace {

// 3510 treats subnormal operands and results of these instructions as zero by default.
float Flush(float value, bool flush) {
  return flush && std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value;
}

// The vendor's pages give Rsqrt and Reciprocal about three good digits; more must not be relied on.
float ThreeDigits(float value) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000u);
}

template <class Format, class F>
void Binary(const Instr& instr, uint8_t* ub, F fn) {
  using T = typename Format::Storage;
  const bool saturate = instr.saturate;
  WalkLanes(instr, ub, [&](uint8_t* d, uint8_t* a, uint8_t* b, uint32_t n) {
    T* dst = reinterpret_cast<T*>(d);
    const T* left = reinterpret_cast<const T*>(a);
    const T* right = reinterpret_cast<const T*>(b);
#pragma GCC ivdep
    for (uint32_t i = 0; i < n; ++i) {
      dst[i] = Format::Store(fn(Format::Load(left[i]), Format::Load(right[i])), saturate);
    }
  });
}

template <class Format, class F>
void Unary(const Instr& instr, uint8_t* ub, F fn) {
  using T = typename Format::Storage;
  const bool saturate = instr.saturate;
  WalkLanes(instr, ub, [&](uint8_t* d, uint8_t* a, uint8_t*, uint32_t n) {
    T* dst = reinterpret_cast<T*>(d);
    const T* src = reinterpret_cast<const T*>(a);
#pragma GCC ivdep
    for (uint32_t i = 0; i < n; ++i) dst[i] = Format::Store(fn(Format::Load(src[i])), saturate);
  });
}

// dst = a * b + c with one rounding; the product of two floats is exact in double.
template <class DstFormat, class SrcFormat, class F>
void Ternary(const Instr& instr, uint8_t* ub, F fn) {
  using D = typename DstFormat::Storage;
  using S = typename SrcFormat::Storage;
  const bool saturate = instr.saturate;
  const bool one_source = !instr.src1.present;
  WalkLanes(instr, ub, [&](uint8_t* d, uint8_t* a, uint8_t* b, uint32_t n) {
    D* dst = reinterpret_cast<D*>(d);
    const S* left = reinterpret_cast<const S*>(a);
    const S* right = reinterpret_cast<const S*>(one_source ? a : b);
#pragma GCC ivdep
    for (uint32_t i = 0; i < n; ++i) {
      const double value = fn(static_cast<double>(DstFormat::Load(dst[i])),
                              static_cast<double>(SrcFormat::Load(left[i])),
                              static_cast<double>(SrcFormat::Load(right[i])));
      dst[i] = DstFormat::Store(static_cast<typename DstFormat::Compute>(value), saturate);
    }
  });
}

template <class F>
void TernaryByType(const Instr& instr, uint8_t* ub, F fn) {
  const Type dst = instr.dst.type;
  const Type src = instr.src0.type;
  if (dst == Type::kFloat && src == Type::kHalf) {
    Ternary<FloatFormat, HalfFormat>(instr, ub, fn);
  } else if (dst == src) {
    WithFormat(dst,
               [&](auto format) { Ternary<decltype(format), decltype(format)>(instr, ub, fn); });
  }
}

template <class From, class To, class F>
void Convert(const Instr& instr, uint8_t* ub, F fn) {
  WalkLanes(instr, ub, [&](uint8_t* d, uint8_t* a, uint8_t*, uint32_t n) {
    To* dst = reinterpret_cast<To*>(d);
    const From* src = reinterpret_cast<const From*>(a);
#pragma GCC ivdep
    for (uint32_t i = 0; i < n; ++i) dst[i] = fn(src[i]);
  });
}

void ExecuteCast(const Instr& instr, uint8_t* ub) {
  const Rounding mode = instr.rounding;
  const bool saturate = instr.saturate;
  const bool nearest = (mode == Rounding::kRint || mode == Rounding::kNone) && !saturate;
  const Type from = instr.src0.type;
  const Type to = instr.dst.type;
  auto to_half = [=](float value) {
    const uint16_t bits = FloatToHalf(value, mode);
    return saturate ? Saturate(bits, kHalfInfinity) : bits;
  };
  auto to_bf16 = [=](float value) {
    const uint16_t bits = FloatToBf16(value, mode);
    return saturate ? Saturate(bits, kBf16Infinity) : bits;
  };
  if (from == Type::kHalf && to == Type::kFloat) {
    Convert<uint16_t, float>(instr, ub, HalfToFloat);
  } else if (from == Type::kBf16 && to == Type::kFloat) {
    Convert<uint16_t, float>(instr, ub, Bf16ToFloat);
  } else if (from == Type::kFloat && to == Type::kHalf) {
    if (nearest) return Convert<float, uint16_t>(instr, ub, FloatToHalfRint);
    Convert<float, uint16_t>(instr, ub, to_half);
  } else if (from == Type::kFloat && to == Type::kBf16) {
    if (nearest) return Convert<float, uint16_t>(instr, ub, FloatToBf16Rint);
    Convert<float, uint16_t>(instr, ub, to_bf16);
  } else if (from == Type::kFloat && to == Type::kFloat) {
    Convert<float, float>(instr, ub, [=](float v) { return RoundToIntegral(v, mode); });
  } else if (from == Type::kFloat && to == Type::kInt32) {
    Convert<float, int32_t>(instr, ub, [=](float v) { return FloatToInt32(v, mode); });
  } else if (from == Type::kInt32 && to == Type::kFloat) {
    Convert<int32_t, float>(instr, ub, [](int32_t v) { return static_cast<float>(v); });
  } else if (from == Type::kHalf && to == Type::kBf16) {
    Convert<uint16_t, uint16_t>(instr, ub, [=](uint16_t v) { return to_bf16(HalfToFloat(v)); });
  } else if (from == Type::kBf16 && to == Type::kHalf) {
    Convert<uint16_t, uint16_t>(instr, ub, [=](uint16_t v) { return to_half(Bf16ToFloat(v)); });
  }
}

template <class T>
void Fill(const Instr& instr, uint8_t* ub) {
  const T value = static_cast<T>(instr.scalar_bits);
  WalkLanes(instr, ub, [&](uint8_t* d, uint8_t*, uint8_t*, uint32_t n) {
    std::fill_n(reinterpret_cast<T*>(d), n, value);
  });
}

template <class Format>
void ExecuteArithmetic(const Instr& instr, uint8_t* ub, bool flush) {
  using C = typename Format::Compute;
  const C scalar = static_cast<C>(instr.scalar);
  switch (instr.op) {
    case Op::kAdd:
      return Binary<Format>(instr, ub, [](C a, C b) { return a + b; });
    case Op::kSub:
      return Binary<Format>(instr, ub, [](C a, C b) { return a - b; });
    case Op::kMul:
      return Binary<Format>(instr, ub, [](C a, C b) { return a * b; });
    case Op::kMax:
      return Binary<Format>(instr, ub, [](C a, C b) { return a > b ? a : b; });
    case Op::kMin:
      return Binary<Format>(instr, ub, [](C a, C b) { return a < b ? a : b; });
    case Op::kAdds:
      return Unary<Format>(instr, ub, [=](C a) { return a + scalar; });
    case Op::kMuls:
      return Unary<Format>(instr, ub, [=](C a) { return a * scalar; });
    case Op::kMaxs:
      return Unary<Format>(instr, ub, [=](C a) { return a > scalar ? a : scalar; });
    case Op::kMins:
      return Unary<Format>(instr, ub, [=](C a) { return a < scalar ? a : scalar; });
    case Op::kAbs:
      return Unary<Format>(instr, ub, [](C a) { return a < 0 ? -a : a; });
    case Op::kRelu:
      return Unary<Format>(instr, ub, [](C a) { return a > 0 ? a : C{0}; });
    default:
      break;
  }
  if constexpr (std::is_same_v<C, float>) {
    switch (instr.op) {
      case Op::kDiv:
        return Binary<Format>(
            instr, ub, [=](C a, C b) { return Flush(Flush(a, flush) / Flush(b, flush), flush); });
      case Op::kSqrt:
        return Unary<Format>(instr, ub, [=](C a) { return std::sqrt(Flush(a, flush)); });
      case Op::kRsqrt:
        return Unary<Format>(instr, ub,
                             [=](C a) { return ThreeDigits(1.0f / std::sqrt(Flush(a, flush))); });
      case Op::kReciprocal:
        return Unary<Format>(instr, ub, [=](C a) { return ThreeDigits(1.0f / Flush(a, flush)); });
      case Op::kExp:
        return Unary<Format>(instr, ub, [=](C a) { return Flush(std::exp(a), flush); });
      case Op::kLn:
        return Unary<Format>(instr, ub, [=](C a) { return std::log(Flush(a, flush)); });
      default:
        break;
    }
  }
}

}  // namespace

void ExecuteVector(const Instr& instr, uint8_t* ub, int32_t arch) {
  const double scalar = instr.scalar;
  switch (instr.op) {
    case Op::kMulAddDst:
      return TernaryByType(instr, ub, [](double d, double a, double b) { return a * b + d; });
    case Op::kFusedMulAdd:
      return TernaryByType(instr, ub, [](double d, double a, double b) { return a * d + b; });
    case Op::kAxpy:
      return TernaryByType(instr, ub, [=](double d, double a, double) { return a * scalar + d; });
    case Op::kCast:
      return ExecuteCast(instr, ub);
    case Op::kCopy:
      if (SizeOf(instr.dst.type) == 2) {
        return Convert<uint16_t, uint16_t>(instr, ub, [](uint16_t v) { return v; });
      }
      return Convert<uint32_t, uint32_t>(instr, ub, [](uint32_t v) { return v; });
    case Op::kDuplicate:
      return SizeOf(instr.dst.type) == 2 ? Fill<uint16_t>(instr, ub) : Fill<uint32_t>(instr, ub);
    case Op::kBrcb:
    case Op::kGather:
    case Op::kWholeReduceSum:
    case Op::kBlockReduceSum:
    case Op::kPairReduceSum:
      return ExecuteReduction(instr, ub, arch);
    default:
      WithFormat(instr.dst.type, [&](auto format) {
        ExecuteArithmetic<decltype(format)>(instr, ub, arch == 3510);
      });
  }
}

}  // namespace executor
