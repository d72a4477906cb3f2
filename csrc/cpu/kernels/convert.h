// The small tensors of a 16-bit call, to the dtype of the sums and back, and without NaNs that
// bfloat16 could not be made of.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "lanes.h"

namespace group_norm_grad::cpu {
namespace {

// out = n values of in.
template <typename T>
void ToAcc(const void* in, int64_t n, void* out) {
  using A = AccOf<T>;
  const T* from = static_cast<const T*>(in);
  A* to = static_cast<A*>(out);
  int64_t i = 0;
  for (; i + kPair<A> <= n; i += kPair<A>) Store(to + i, LanesToElements<T>(Load(from + i)));
  if (i < n) StoreFirst(to + i, LanesToElements<T>(LoadFirst(from + i, n - i)), n - i);
}

template <typename T>
void FromAcc(const void* in, int64_t n, void* out) {
  using A = AccOf<T>;
  const A* from = static_cast<const A*>(in);
  T* to = static_cast<T*>(out);
  int64_t i = 0;
  for (; i + kPair<A> <= n; i += kPair<A>) Store(to + i, ElementsToLanes<T>(Load(from + i)));
  if (i < n) StoreFirst(to + i, ElementsToLanes<T>(LoadFirst(from + i, n - i)), n - i);
}

// in, or if it has NaNs that overflow, n values of room with the default NaN in place of each.
inline const void* CleanNans(const void* in, int64_t n, void* room) {
  const float* from = static_cast<const float*>(in);
  uint32_t highest = 0;
  for (int64_t i = 0; i < n; ++i) {
    highest = std::max(highest, std::bit_cast<uint32_t>(from[i]) & 0x7fffffff);
  }
  if (highest < kOverflowingNan) return in;
  std::replace_copy_if(
      from, from + n, static_cast<float*>(room), [](float v) { return v != v; },
      std::numeric_limits<float>::quiet_NaN());
  return room;
}

}  // namespace
}  // namespace group_norm_grad::cpu
