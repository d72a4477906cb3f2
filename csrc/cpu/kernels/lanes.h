// Arrays with one value a channel, laid out as the lanes of the steps over a row of channels. No
// arithmetic here.
#pragma once

#include <algorithm>
#include <tuple>

#include "../plan.h"
#include "access.h"

namespace group_norm_grad::cpu {
namespace {

template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> ElementsToLanes(Pair<AccOf<T>> v) {
  if constexpr (!kInOrder<T>) std::tie(v.lo, v.hi) = at::vec::deinterleave2(v.lo, v.hi);
  return v;
}

template <typename T>
C10_ALWAYS_INLINE Pair<AccOf<T>> LanesToElements(Pair<AccOf<T>> v) {
  if constexpr (!kInOrder<T>) std::tie(v.lo, v.hi) = at::vec::interleave2(v.lo, v.hi);
  return v;
}

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
      Store(lanes + slot, ElementsToLanes<T>(Load(by_element + element)));
    });
  }

  static void ToElements(const A* lanes, A* by_element, int64_t width) {
    ForEach(width, [&](int64_t slot, int64_t element) {
      Store(by_element + element, LanesToElements<T>(Load(lanes + slot)));
    });
  }
};

// Calls f with D, as a constant where D is one of the usual small widths: loops over a group's
// channels are then a few vector instructions.
template <typename F>
C10_ALWAYS_INLINE void WithGroupWidth(int64_t D, const F& f) {
  switch (D) {
    case 1:
      return f(std::integral_constant<int64_t, 1>());
    case 2:
      return f(std::integral_constant<int64_t, 2>());
    case 4:
      return f(std::integral_constant<int64_t, 4>());
    case 8:
      return f(std::integral_constant<int64_t, 8>());
    case 16:
      return f(std::integral_constant<int64_t, 16>());
    default:
      return f(D);
  }
}

// Groups of short rows whose sums are all taken before the first is written: none then waits for
// what its lanes add up to.
constexpr int64_t kFlatGroupsAtOnce = 8;

// Rows of a channels-last sample that are taken together, so that the arrays by channel are loaded
// and stored once for all of them. What is written of them is stored after the last of their loads:
// a load waits for an earlier store whose address has the same last 12 bits, and rows are often a
// multiple of 4 KiB apart.
constexpr int64_t kRowsAtOnce = 4;

// Calls f(s, apart, rows) for all rows of [begin, end): f takes the rows s, s + apart, ... (rows of
// them, an integral_constant). Rows taken together are a quarter of the chunk apart, so that each
// belongs to a run of memory of its own, which the prefetchers follow; rows side by side share a
// page, and are lost. The distance is odd, because rows a multiple of 4 KiB apart fight for the
// same sets of the first cache.
template <typename F>
C10_ALWAYS_INLINE void ForRows(int64_t begin, int64_t end, const F& f) {
  const int64_t quarter = (end - begin) / kRowsAtOnce;
  const int64_t apart = quarter - (quarter > 0 && quarter % 2 == 0);
  for (int64_t i = 0; i < apart; ++i) {
    f(begin + i, apart, std::integral_constant<int, kRowsAtOnce>());
  }
  int64_t s = begin + kRowsAtOnce * apart;
  if (end - s >= kRowsAtOnce) {
    f(s, int64_t{1}, std::integral_constant<int, kRowsAtOnce>());
    s += kRowsAtOnce;
  }
  for (; s < end; ++s) f(s, int64_t{1}, std::integral_constant<int, 1>());
}

// Calls f as above for the rows of one chunk of a sample of S rows. The chunks of a stretch are
// walked from the same four starts, one after the other: where rows are narrow, the quarters of one
// chunk would be too short for the prefetchers.
template <typename F>
C10_ALWAYS_INLINE void ForChunk(int64_t chunk, int64_t S, int64_t stretch, const F& f) {
  constexpr int64_t kQuarter = kChannelsLastChunkRows / kRowsAtOnce;
  const int64_t whole = S / kChannelsLastChunkRows;
  if (chunk == whole) return ForRows(whole * kChannelsLastChunkRows, S, f);
  const int64_t first = chunk / stretch * stretch;
  const int64_t begin = first * kChannelsLastChunkRows + (chunk - first) * kQuarter;
  const int64_t apart = std::min(stretch, whole - first) * kQuarter;
  for (int64_t i = 0; i < kQuarter; ++i) {
    f(begin + i, apart, std::integral_constant<int, kRowsAtOnce>());
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
