// Vectors of any dtype as pairs of vectors of its sum dtype, and sums that keep their rounding
// error. No schedule here.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

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
  Pair() : lo(A(0)), hi(A(0)) {}
  explicit Pair(A value) : lo(value), hi(value) {}
  Pair(Vec<A> l, Vec<A> h) : lo(l), hi(h) {}
  friend Pair operator+(const Pair& a, const Pair& b) { return {a.lo + b.lo, a.hi + b.hi}; }
  friend Pair operator-(const Pair& a, const Pair& b) { return {a.lo - b.lo, a.hi - b.hi}; }
  friend Pair operator*(const Pair& a, const Pair& b) { return {a.lo * b.lo, a.hi * b.hi}; }
  friend Pair operator&(const Pair& a, const Pair& b) { return {a.lo & b.lo, a.hi & b.hi}; }
};

template <typename A>
Pair<A> MulAdd(const Pair<A>& a, const Pair<A>& b, const Pair<A>& c) {
  return {at::vec::fmadd(a.lo, b.lo, c.lo), at::vec::fmadd(a.hi, b.hi, c.hi)};
}

template <typename A>
A Sum(const Pair<A>& v) {
  return at::vec::vec_reduce_all<A>([](Vec<A>& a, Vec<A>& b) { return a + b; }, v.lo + v.hi);
}

template <typename T>
Pair<AccOf<T>> Load(const T* p) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    return {Vec<T>::loadu(p), Vec<T>::loadu(p + kHalf<T>)};
  } else {
    auto [lo, hi] = at::vec::convert_to_float<T>(at::vec::Vectorized<T>::loadu(p));
    return {lo, hi};
  }
}

// The first count elements; the others are 0.
template <typename T>
Pair<AccOf<T>> LoadFirst(const T* p, int64_t count) {
  T buffer[kPair<AccOf<T>>] = {};
  std::memcpy(static_cast<void*>(buffer), p, count * sizeof(T));
  return Load(buffer);
}

template <typename T>
void Store(T* p, const Pair<AccOf<T>>& v) {
  if constexpr (std::is_same_v<T, AccOf<T>>) {
    v.lo.store(p);
    v.hi.store(p + kHalf<T>);
  } else {
    at::vec::convert_from_float<T>(v.lo, v.hi).store(p);
  }
}

template <typename T>
void StoreFirst(T* p, const Pair<AccOf<T>>& v, int64_t count) {
  T buffer[kPair<AccOf<T>>];
  Store(buffer, v);
  std::memcpy(static_cast<void*>(p), buffer, count * sizeof(T));
}

// Bits set in the lanes from first on: v & LanesFrom(first) drops the lanes before it, even where
// they hold a NaN.
template <typename A>
Pair<A> LanesFrom(int64_t first) {
  const Vec<A> at(static_cast<A>(first));
  return {Vec<A>::arange(A(0), A(1)) >= at, Vec<A>::arange(static_cast<A>(kHalf<A>), A(1)) >= at};
}

// The rounding error of s = a + b.
template <typename V>
V AddError(const V& a, const V& b, const V& s) {
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
void AddExactly(A* totals, A* errors, const A* values, int64_t n) {
  for (int64_t i = 0; i < n; i += kPair<A>) {
    const Pair<A> total = Load(totals + i), value = Load(values + i);
    const Pair<A> next = total + value;
    Store(errors + i, Load(errors + i) + AddError(total, value, next));
    Store(totals + i, next);
  }
}

template <typename A>
void SettleExactly(A* totals, const A* errors, int64_t n) {
  for (int64_t i = 0; i < n; ++i) totals[i] = ExactSum<A>{totals[i], errors[i]}.Value();
}

constexpr int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace
}  // namespace group_norm_grad::cpu
