// Vectors of any dtype as pairs of vectors of its sum dtype, and sums that keep their rounding
// error. No schedule here.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <c10/macros/Macros.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace group_norm_grad::cpu {
namespace {

template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename A>
using Vec = at::vec::Vectorized<A>;

template <typename A>
constexpr int64_t kHalf = Vec<A>::size();

// Elements of one step. A 16-bit vector converts to two of float, so every dtype goes in pairs.
template <typename A>
constexpr int64_t kPair = 2 * kHalf<A>;

template <typename A>
struct Pair {
  Vec<A> lo, hi;
  C10_ALWAYS_INLINE Pair() : lo(A(0)), hi(A(0)) {}
  C10_ALWAYS_INLINE explicit Pair(A value) : lo(value), hi(value) {}
  C10_ALWAYS_INLINE Pair(Vec<A> l, Vec<A> h) : lo(l), hi(h) {}
  C10_ALWAYS_INLINE friend Pair operator+(const Pair& a, const Pair& b) {
    return {a.lo + b.lo, a.hi + b.hi};
  }
  C10_ALWAYS_INLINE friend Pair operator-(const Pair& a, const Pair& b) {
    return {a.lo - b.lo, a.hi - b.hi};
  }
  C10_ALWAYS_INLINE friend Pair operator*(const Pair& a, const Pair& b) {
    return {a.lo * b.lo, a.hi * b.hi};
  }
  C10_ALWAYS_INLINE friend Pair operator&(const Pair& a, const Pair& b) {
    return {a.lo & b.lo, a.hi & b.hi};
  }
};

template <typename A>
C10_ALWAYS_INLINE Pair<A> MulAdd(const Pair<A>& a, const Pair<A>& b, const Pair<A>& c) {
  return {at::vec::fmadd(a.lo, b.lo, c.lo), at::vec::fmadd(a.hi, b.hi, c.hi)};
}

template <typename A>
C10_ALWAYS_INLINE Vec<A> Fold(const Pair<A>& v) {
  return v.lo + v.hi;
}

#if defined(CPU_CAPABILITY_AVX512)
C10_ALWAYS_INLINE __m128 SumLanes(const Vec<float> (&v)[4]) {
  const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
  const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
  const __m512 quarters =
      _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  const __m256 halves =
      _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
#elif defined(CPU_CAPABILITY_AVX2)
C10_ALWAYS_INLINE __m128 SumLanes(const Vec<float> (&v)[4]) {
  const __m256 a = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
  const __m256 b = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
  const __m256 halves = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
#endif

// sums[i] = the sum of the lanes of v[i], added in one order for every i. Four at once cost little
// more than one.
template <typename A>
C10_ALWAYS_INLINE void SumEach(const Vec<A> (&v)[4], A* sums) {
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<A, float>) return _mm_storeu_ps(sums, SumLanes(v));
#endif
  for (int i = 0; i < 4; ++i) {
    sums[i] = at::vec::vec_reduce_all<A>([](Vec<A>& a, Vec<A>& b) { return a + b; }, v[i]);
  }
}

// Which element of a step a lane holds. Every dtype keeps them in order but bfloat16 on x86: there
// the even elements go to lo and the odd ones to hi, which takes a shift and a mask where the order
// would take shuffles.
template <typename T>
constexpr bool kInOrder = true;
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
template <>
constexpr bool kInOrder<at::BFloat16> = false;
#endif

// Bits, without the sign, from which on rounding to bfloat16 carries a NaN over into the sign. No
// such NaN comes of bfloat16s, whose lower bits are 0, nor of arithmetic, whose NaNs are the
// default one or one of its operands; of float32 tensors beside bfloat16 data they are kept out
// (CleanNans).
constexpr uint32_t kOverflowingNan = 0x7fff8000;

template <typename T>
constexpr int64_t LaneOf(int64_t element) {
  return kInOrder<T> ? element : element % 2 * kHalf<AccOf<T>> + element / 2;
}

#if defined(CPU_CAPABILITY_AVX512)
C10_ALWAYS_INLINE Pair<float> SplitBFloat16(__m512i both) {
  return {Vec<float>(_mm512_castsi512_ps(_mm512_slli_epi32(both, 16))),
          Vec<float>(_mm512_castsi512_ps(
              _mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000)))))};
}

// The bits of each value rounded to the nearest bfloat16, ties to even, in the upper half of
// its 32. No NaN may reach kOverflowingNan: see there.
C10_ALWAYS_INLINE __m512i RoundToBFloat16(__m512 value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
  const __m512i up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
  return _mm512_mask_add_epi32(up, odd, up, _mm512_set1_epi32(1));
}

C10_ALWAYS_INLINE __m512i JoinBFloat16(const Pair<float>& v) {
  const __m512i lo = _mm512_srli_epi32(RoundToBFloat16(v.lo), 16), hi = RoundToBFloat16(v.hi);
  return _mm512_mask_blend_epi16(0xaaaaaaaa, lo, hi);
}
#elif defined(CPU_CAPABILITY_AVX2)
C10_ALWAYS_INLINE Pair<float> SplitBFloat16(__m256i both) {
  return {Vec<float>(_mm256_castsi256_ps(_mm256_slli_epi32(both, 16))),
          Vec<float>(_mm256_castsi256_ps(
              _mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000)))))};
}

// As above.
C10_ALWAYS_INLINE __m256i RoundToBFloat16(__m256 value) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
}

C10_ALWAYS_INLINE __m256i JoinBFloat16(const Pair<float>& v) {
  const __m256i lo = _mm256_srli_epi32(RoundToBFloat16(v.lo), 16), hi = RoundToBFloat16(v.hi);
  return _mm256_blend_epi16(lo, hi, 0xaa);
}
#endif

// Half a step of float16. A whole vector, as at::vec has it, would be taken apart after the load
// and joined before the store.
#if defined(CPU_CAPABILITY_AVX512)
C10_ALWAYS_INLINE Vec<float> LoadHalfStep(const at::Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

C10_ALWAYS_INLINE void StoreHalfStep(at::Half* p, const Vec<float>& v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif defined(CPU_CAPABILITY_AVX2)
C10_ALWAYS_INLINE Vec<float> LoadHalfStep(const at::Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

C10_ALWAYS_INLINE void StoreHalfStep(at::Half* p, const Vec<float>& v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#endif

// Whether float16 goes through the two functions above.
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
template <typename T>
constexpr bool kInHalfSteps = std::is_same_v<T, at::Half>;
#else
template <typename T>
constexpr bool kInHalfSteps = false;
#endif

// A vector of a 16-bit dtype as floats, and back.
template <typename T>
C10_ALWAYS_INLINE Pair<float> Widen(const at::vec::Vectorized<T>& v) {
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, at::BFloat16>) return SplitBFloat16(v);
#endif
  auto [lo, hi] = at::vec::convert_to_float<T>(v);
  return {lo, hi};
}

template <typename T>
C10_ALWAYS_INLINE at::vec::Vectorized<T> Narrow(const Pair<float>& v) {
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
  if constexpr (std::is_same_v<T, at::BFloat16>) return JoinBFloat16(v);
#endif
  return at::vec::convert_from_float<T>(v.lo, v.hi);
}

template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> Load(const T* p) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    return {Vec<T>::loadu(p), Vec<T>::loadu(p + kHalf<T>)};
  } else if constexpr (kInHalfSteps<T>) {
    return {LoadHalfStep(p), LoadHalfStep(p + kHalf<float>)};
  } else {
    return Widen<T>(at::vec::Vectorized<T>::loadu(p));
  }
}

// Whether LoadFirst and StoreFirst take their elements by a mask, not by way of memory; with
// LoadHalfFirst.
#if defined(CPU_CAPABILITY_AVX512)
constexpr bool kHasMaskedSteps = true;
#else
constexpr bool kHasMaskedSteps = false;
#endif

// The first count elements, 1 to a whole step; the others are 0.
template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> LoadFirst(const T* p, int64_t count) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    const int64_t rest = count - kHalf<T>;
    if (rest <= 0) return {Vec<T>::loadu(p, count), Vec<T>(T(0))};
    return {Vec<T>::loadu(p), Vec<T>::loadu(p + kHalf<T>, rest)};
  } else {
    return Widen<T>(at::vec::Vectorized<T>::loadu(p, count));
  }
}

#if defined(CPU_CAPABILITY_AVX512)
// The first count elements, 1 to half a step, each in the lane of its index; the others are 0.
template <typename T>
C10_ALWAYS_INLINE Vec<AccOf<T>> LoadHalfFirst(const T* p, int64_t count) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    return Vec<T>::loadu(p, count);
  } else {
    const __m256i bits = _mm256_maskz_loadu_epi16((1u << count) - 1, p);
    if constexpr (std::is_same_v<T, at::Half>) return _mm512_cvtph_ps(bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
}
#endif

template <typename T>
C10_ALWAYS_INLINE void Store(T* p, const Pair<AccOf<T>>& v) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    v.lo.store(p);
    v.hi.store(p + kHalf<T>);
  } else if constexpr (kInHalfSteps<T>) {
    StoreHalfStep(p, v.lo);
    StoreHalfStep(p + kHalf<float>, v.hi);
  } else {
    Narrow<T>(v).store(p);
  }
}

// Asks for the lines of a step, any address, to be brought into the second cache.
template <typename T>
C10_ALWAYS_INLINE void Prefetch(const T* p) {
  constexpr int64_t kLineElems = 64 / sizeof(T);
  for (int64_t i = 0; i < kPair<AccOf<T>>; i += kLineElems) __builtin_prefetch(p + i, 0, 2);
}

// Whether StoreNonTemporal goes past the caches: a line is then not read before it is written, and
// nothing else is put out of them for it.
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
constexpr bool kHasNonTemporal = true;
#else
constexpr bool kHasNonTemporal = false;
#endif

// p must lie on a multiple of a vector's size. A line that is also written otherwise at about the
// same time costs more than is saved. Fence() before another thread may read.
template <typename T>
C10_ALWAYS_INLINE void StoreNonTemporal(T* p, const Pair<AccOf<T>>& v) {
  const auto store = [](auto* to, const auto& vector) {
#if defined(CPU_CAPABILITY_AVX512)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), __builtin_bit_cast(__m512i, vector));
#elif defined(CPU_CAPABILITY_AVX2)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), __builtin_bit_cast(__m256i, vector));
#else
    vector.store(to);
#endif
  };
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    store(p, v.lo);
    store(p + kHalf<T>, v.hi);
  } else {
    store(p, Narrow<T>(v));
  }
}

C10_ALWAYS_INLINE void Fence() {
#if defined(CPU_CAPABILITY_AVX2) || defined(CPU_CAPABILITY_AVX512)
  _mm_sfence();
#endif
}

// Elements from p to the next address that StoreNonTemporal takes.
template <typename T>
C10_ALWAYS_INLINE int64_t ToAligned(const T* p) {
  return (-reinterpret_cast<uintptr_t>(p) % sizeof(Vec<AccOf<T>>)) / sizeof(T);
}

template <typename T>
C10_ALWAYS_INLINE void StoreFirst(T* p, const Pair<AccOf<T>>& v, int64_t count) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    v.lo.store(p, std::min(count, kHalf<T>));
    if (count > kHalf<T>) v.hi.store(p + kHalf<T>, count - kHalf<T>);
  } else {
    Narrow<T>(v).store(p, count);
  }
}

// Bits set in the lanes of a step's elements from first on: v & ElementsFrom(first) drops the
// elements before it, even NaNs.
template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> ElementsFrom(int64_t first) {
  using A = AccOf<T>;
  const Vec<A> at(static_cast<A>(first));
  const int step = kInOrder<T> ? 1 : 2;
  const A hi = kInOrder<T> ? static_cast<A>(kHalf<A>) : A(1);
  return {Vec<A>::arange(A(0), step) >= at, Vec<A>::arange(hi, step) >= at};
}

// The elements before first of a, the others of b.
template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> Blend(const Pair<AccOf<T>>& a, const Pair<AccOf<T>>& b,
                                       int64_t first) {
  using A = AccOf<T>;
  const Pair<A> from = ElementsFrom<T>(first);
  return {Vec<A>::blendv(a.lo, b.lo, from.lo), Vec<A>::blendv(a.hi, b.hi, from.hi)};
}

// The rounding error of s = a + b.
template <typename V>
C10_ALWAYS_INLINE V AddError(const V& a, const V& b, const V& s) {
  const V b_in_s = s - a;
  return (a - (s - b_in_s)) + (b - b_in_s);
}

template <typename A>
struct ExactSum {
  A total = 0, error = 0;
  void Add(A value) {
    const A next = total + value;
    error += AddError(total, value, next);
    total = next;
  }
  // An infinite total has no meaningful error.
  A Value() const { return error - error == A(0) ? total + error : total; }
};

// totals += values for n elements, n a multiple of kPair, keeping the rounding errors.
template <typename A>
C10_ALWAYS_INLINE void AddExactly(A* totals, A* errors, const A* values, int64_t n) {
  for (int64_t i = 0; i < n; i += kPair<A>) {
    const Pair<A> total = Load(totals + i), value = Load(values + i);
    const Pair<A> next = total + value;
    Store(errors + i, Load(errors + i) + AddError(total, value, next));
    Store(totals + i, next);
  }
}

// totals += errors where that means something; n as above.
template <typename A>
C10_ALWAYS_INLINE void SettleExactly(A* totals, const A* errors, int64_t n) {
  const Pair<A> zero;
  for (int64_t i = 0; i < n; i += kPair<A>) {
    const Pair<A> error = Load(errors + i), none = error - error;
    const Pair<A> finite(none.lo == zero.lo, none.hi == zero.hi);
    Store(totals + i, Load(totals + i) + (error & finite));
  }
}

// Two arrays of sums over the chunks: chunk_sums(k) puts those of chunk k where the two references
// point then. padded elements each, a multiple of kPair.
template <typename A, typename ChunkSums>
void AddChunks(int64_t chunks, int64_t padded, std::array<A*, 2> totals, std::array<A*, 2> errors,
               A* const& first_of_chunk, A* const& second_of_chunk, const ChunkSums& chunk_sums) {
  for (int i = 0; i < 2; ++i) {
    std::fill_n(totals[i], padded, A(0));
    std::fill_n(errors[i], padded, A(0));
  }
  for (int64_t k = 0; k < chunks; ++k) {
    chunk_sums(k);
    AddExactly(totals[0], errors[0], first_of_chunk, padded);
    AddExactly(totals[1], errors[1], second_of_chunk, padded);
  }
  for (int i = 0; i < 2; ++i) SettleExactly(totals[i], errors[i], padded);
}

constexpr int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace
}  // namespace group_norm_grad::cpu
