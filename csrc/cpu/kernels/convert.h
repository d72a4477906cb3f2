// The small tensors of a 16-bit call, to the dtype of the sums and back.
#pragma once

#include <algorithm>

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

}  // namespace
}  // namespace group_norm_grad::cpu
