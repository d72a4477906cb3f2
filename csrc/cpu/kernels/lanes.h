// Arrays with one value a channel, laid out as the lanes of the steps over a row of channels. No
// arithmetic here.
#pragma once

#include <algorithm>

#include "vec.h"

namespace group_norm_grad::cpu {
namespace {

// A row of width elements is walked in steps of kPair; where width is no multiple, the last step
// starts early, so that it ends with the row. Each step has a slot of its own in a lane array, so
// the elements of two steps are in two slots; a row narrower than a step is loaded in part.
template <typename T>
struct Steps {
  using A = AccOf<T>;
  static constexpr int64_t kStep = kPair<A>;

  // Elements of a lane array.
  static int64_t Padded(int64_t width) { return RoundUp(width, kStep); }

  // Calls step(slot, element) for every step, the early one first, so that a later one may write
  // over it.
  template <typename Step>
  static C10_ALWAYS_INLINE void ForEach(int64_t width, const Step& step) {
    const int64_t whole = width / kStep * kStep;
    if (whole != width) step(whole, std::max<int64_t>(width - kStep, 0));
    for (int64_t at = 0; at < whole; at += kStep) step(at, at);
  }

  // Whether a lane array is the array by element itself.
  static bool SameOrder(int64_t width) { return kInOrder<T> && width % kStep == 0; }

  // Both arrays are Padded long, so that a row narrower than a step needs no exception.
  static void ToLanes(const A* by_element, A* lanes, int64_t width) {
    ForEach(width, [&](int64_t slot, int64_t element) {
      for (int64_t i = 0; i < kStep; ++i) lanes[slot + LaneOf<T>(i)] = by_element[element + i];
    });
  }

  static void ToElements(const A* lanes, A* by_element, int64_t width) {
    ForEach(width, [&](int64_t slot, int64_t element) {
      for (int64_t i = 0; i < kStep; ++i) by_element[element + i] = lanes[slot + LaneOf<T>(i)];
    });
  }
};

// Loads and stores of a step of a row at least as wide as a step, and of a narrower one.
template <typename T>
struct WholeSteps {
  C10_ALWAYS_INLINE Pair<AccOf<T>> Get(const T* p) const { return Load(p); }
  C10_ALWAYS_INLINE void Put(T* p, const Pair<AccOf<T>>& v) const { Store(p, v); }
};

template <typename T>
struct NarrowSteps {
  int64_t width;
  C10_ALWAYS_INLINE Pair<AccOf<T>> Get(const T* p) const { return LoadFirst(p, width); }
  C10_ALWAYS_INLINE void Put(T* p, const Pair<AccOf<T>>& v) const { StoreFirst(p, v, width); }
};

// Calls f with the access that rows of this width need.
template <typename T, typename F>
void WithAccess(int64_t width, const F& f) {
  if (width >= kPair<AccOf<T>>) {
    f(WholeSteps<T>());
  } else {
    f(NarrowSteps<T>{width});
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
