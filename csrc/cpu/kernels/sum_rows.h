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
  // sums = the plain sums of some rows, over width channels from c on.
  const auto add_rows = [&](int64_t first, int64_t last, int64_t c, int64_t width, A* sums) {
    std::fill_n(sums, width, A(0));
    for (int64_t r = first; r < last; ++r) {
      const A* row = static_cast<const A*>(partial) + r * C + c;
      for (int64_t i = 0; i < width; ++i) sums[i] += row[i];
    }
  };
  A* const result = static_cast<A*>(out);
  if (rows <= kSumRows) return add_rows(0, rows, begin, end - begin, result + begin);
  A totals[kSumChannels], errors[kSumChannels], sums[kSumChannels];
  for (int64_t c = begin; c < end; c += kSumChannels) {
    const int64_t width = std::min(kSumChannels, end - c);
    const int64_t padded = RoundUp(width, kPair<A>);
    for (A* values : {totals, errors, sums}) std::fill_n(values, padded, A(0));
    for (int64_t first = 0; first < rows; first += kSumRows) {
      add_rows(first, std::min(first + kSumRows, rows), c, width, sums);
      AddExactly(totals, errors, sums, padded);
    }
    SettleExactly(totals, errors, padded);
    std::copy_n(totals, width, result + c);
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
