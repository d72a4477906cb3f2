// How a step of a row is loaded and stored, and the walk over the rows of a group that writes each
// element once. No formula here.
#pragma once

#include <algorithm>
#include <array>

#include "vec.h"

namespace group_norm_grad::cpu {
namespace {

// Of a row at least as wide as a step.
template <typename T>
struct WholeSteps {
  C10_ALWAYS_INLINE Pair<AccOf<T>> Get(const T* p) const { return Load(p); }
  C10_ALWAYS_INLINE void Put(T* p, const Pair<AccOf<T>>& v) const { Store(p, v); }
};

// Of a row as wide as some steps, whose results go past the caches.
template <typename T>
struct NonTemporalSteps {
  C10_ALWAYS_INLINE Pair<AccOf<T>> Get(const T* p) const { return Load(p); }
  C10_ALWAYS_INLINE void Put(T* p, const Pair<AccOf<T>>& v) const { StoreNonTemporal(p, v); }
};

// Of a narrower one.
template <typename T>
struct NarrowSteps {
  int64_t width;
  C10_ALWAYS_INLINE Pair<AccOf<T>> Get(const T* p) const { return LoadFirst(p, width); }
  C10_ALWAYS_INLINE void Put(T* p, const Pair<AccOf<T>>& v) const { StoreFirst(p, v, width); }
};

// Calls f with the access that rows of this width need. out: the first row to be written, stride
// elements before the next; null when none is.
template <typename T, typename F>
void WithAccess(int64_t width, const T* out, int64_t stride, bool non_temporal, const F& f) {
  constexpr int64_t kStep = kPair<AccOf<T>>;
  if constexpr (kHasNonTemporal) {
    if (non_temporal && out != nullptr && (width | stride) % kStep == 0 && ToAligned(out) == 0) {
      f(NonTemporalSteps<T>());
      return Fence();
    }
  }
  if (width >= kStep) {
    f(WholeSteps<T>());
  } else {
    f(NarrowSteps<T>{width});
  }
}

// Calls write(access, i, values) for every step of the elements [from, to) of a group: rows of S
// elements, whose values are values_of(row), an array of Pair. The steps follow one another without
// regard to the rows; one that reaches into the next rows has the values of all of them.
template <typename T, bool kNonTemporal, typename ValuesOf, typename Write>
C10_ALWAYS_INLINE void WalkRows(const T* out, int64_t from, int64_t to, int64_t S,
                                const ValuesOf& values_of, const Write& write) {
  constexpr int64_t kStep = kPair<AccOf<T>>;
  const std::conditional_t<kNonTemporal, NonTemporalSteps<T>, WholeSteps<T>> access;
  int64_t row = from / S, row_end = (row + 1) * S, i = from;
  auto values = values_of(row);
  const auto next_row = [&]() __attribute__((always_inline)) {
    values = values_of(++row);
    row_end += S;
  };
  // The values of a step at i of which count elements are wanted; from then on those of its last.
  const auto values_at = [&](int64_t count) __attribute__((always_inline)) {
    auto mixed = values;
    for (int64_t left = row_end - i; left < count; left += S) {
      next_row();
      for (size_t k = 0; k < values.size(); ++k) mixed[k] = Blend<T>(mixed[k], values[k], left);
    }
    return mixed;
  };
  const auto write_first = [&](int64_t count) __attribute__((always_inline)) {
    write(NarrowSteps<T>{count}, i, values_at(count));
    i += count;
  };
  if constexpr (kNonTemporal) {
    const int64_t head = std::min(ToAligned(out + from), to - from);
    if (head > 0) write_first(head);
  }
  while (i + kStep <= to) {
    if (i == row_end) next_row();
    const int64_t whole = std::min(row_end, to);
    for (; i + kStep <= whole; i += kStep) write(access, i, values);
    if (i < row_end && i + kStep <= to) {
      write(access, i, values_at(kStep));
      i += kStep;
    }
  }
  if (i < to) write_first(to - i);
}

}  // namespace
}  // namespace group_norm_grad::cpu
