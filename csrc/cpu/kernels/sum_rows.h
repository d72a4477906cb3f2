// The last step of grad_weight and grad_bias: the partial sums of the blocks of samples, added in a
// fixed order.
#pragma once

#include <algorithm>

#include "vec.h"

namespace group_norm_grad::cpu {
namespace {

// Channels summed together: their running sums stay in the first cache.
constexpr int64_t kSumChannels = 256;
// Rows added plainly before their sum is added exactly.
constexpr int64_t kSumRows = 64;

template <typename A>
void SumPartialRows(const void* partial, int64_t rows, int64_t C, void* out, int64_t begin,
                    int64_t end) {
  if (rows <= kSumRows) {
    A* total = static_cast<A*>(out);
    std::fill(total + begin, total + end, A(0));
    for (int64_t r = 0; r < rows; ++r) {
      const A* row = static_cast<const A*>(partial) + r * C;
      for (int64_t c = begin; c < end; ++c) total[c] += row[c];
    }
    return;
  }
  A totals[kSumChannels], errors[kSumChannels], sums[kSumChannels];
  for (int64_t c = begin; c < end; c += kSumChannels) {
    const int64_t width = std::min(kSumChannels, end - c);
    const int64_t padded = RoundUp(width, kPair<A>);
    std::fill_n(totals, padded, A(0));
    std::fill_n(errors, padded, A(0));
    for (int64_t first = 0; first < rows; first += kSumRows) {
      std::fill_n(sums, padded, A(0));
      for (int64_t r = first; r < std::min(first + kSumRows, rows); ++r) {
        const A* row = static_cast<const A*>(partial) + r * C + c;
        for (int64_t i = 0; i < width; ++i) sums[i] += row[i];
      }
      AddExactly(totals, errors, sums, padded);
    }
    SettleExactly(totals, errors, padded);
    std::copy_n(totals, width, static_cast<A*>(out) + c);
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
