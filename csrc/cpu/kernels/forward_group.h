// The part of the forward that belongs to one group: its moments, and the statistics that they
// make. No walk over the data here.
#pragma once

#include <algorithm>
#include <cmath>

#include "table.h"

namespace group_norm_grad::cpu {
namespace {

// moments becomes those of what it and other are of. In double whatever the data's dtype: it is a
// few operations a chunk, and the variance then keeps its digits when |mean| is much larger than
// it.
inline void AddMoments(Moments& moments, const Moments& other) {
  const double delta = other.mean - moments.mean, total = moments.count + other.count;
  moments.mean += delta * other.count / total;
  moments.squares += other.squares + delta * delta * moments.count * other.count / total;
  moments.count = total;
}

template <typename A>
void WriteStatistics(const ForwardArgs& args, int64_t ng, const Moments& moments) {
  const double variance = std::max(moments.squares, 0.0) / moments.count;
  static_cast<A*>(args.mean)[ng] = static_cast<A>(moments.mean);
  // std::max drops a NaN of the squares; the mean has it too.
  static_cast<A*>(args.rstd)[ng] =
      static_cast<A>(1.0 / std::sqrt(variance + args.eps) + (moments.mean - moments.mean));
}

// The sum of value(i) over [0, n), in lanes that do not wait for one another.
template <typename Value>
C10_ALWAYS_INLINE double SumInLanes(int64_t n, const Value& value) {
  constexpr int64_t kLanes = 8;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] += value(i + k);
  }
  for (int64_t k = 0; i + k < n; ++k) lanes[k] += value(i + k);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace
}  // namespace group_norm_grad::cpu
