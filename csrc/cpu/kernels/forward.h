// Forward: statistics and output, over contiguous data (rows, or a group walked as one row) and
// over channels-last data.
#pragma once

#include <algorithm>
#include <cmath>

#include "lanes.h"
#include "table.h"

namespace group_norm_grad::cpu {
namespace {

// Moments of what has been added: count, mean, and the sum of squares about that mean. In double
// whatever the data's dtype: it is a few operations a chunk, and the variance then keeps its digits
// when |mean| is much larger than it.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void Add(double n, double m, double s) {
    const double delta = m - mean, total = count + n;
    mean += delta * n / total;
    squares += s + delta * delta * count * n / total;
    count = total;
  }
};

// sum of x - shift, and of its square where asked for.
template <typename A>
struct ShiftedSums {
  A plain = 0, squared = 0;
};

template <typename T, bool kSquared>
C10_ALWAYS_INLINE ShiftedSums<AccOf<T>> SumShifted(const T* input, int64_t len, AccOf<T> shift) {
  using A = AccOf<T>;
  constexpr int64_t kStep = kPair<A>;
  const Pair<A> shift_pair(shift);
  Pair<A> plain, squared, plain2, squared2;
  int64_t i = 0;
  for (; i + 2 * kStep <= len; i += 2 * kStep) {
    const Pair<A> x = Load(input + i) - shift_pair, x2 = Load(input + i + kStep) - shift_pair;
    plain = plain + x;
    plain2 = plain2 + x2;
    if constexpr (kSquared) {
      squared = MulAdd(x, x, squared);
      squared2 = MulAdd(x2, x2, squared2);
    }
  }
  for (; i < len; i += kStep) {
    Pair<A> x;
    if (i + kStep <= len) {
      x = Load(input + i) - shift_pair;
    } else if (len >= kStep) {
      x = (Load(input + len - kStep) - shift_pair) & ElementsFrom<T>(kStep - (len - i));
    } else {
      // The lanes behind the end hold -shift otherwise.
      x = LoadFirst(input, len) - shift_pair;
      x = x - (x & ElementsFrom<T>(len));
    }
    plain = plain + x;
    if constexpr (kSquared) squared = MulAdd(x, x, squared);
  }
  const auto [of_plain, of_squared] = Sums(plain + plain2, squared + squared2);
  return {of_plain, of_squared};
}

// Each chunk about its own mean, which a first pass over the chunk finds while it brings it into
// the first cache.
template <typename T>
Moments MomentsOf(const T* input, int64_t len) {
  using A = AccOf<T>;
  Moments moments;
  for (int64_t begin = 0; begin < len; begin += kRowChunkElems) {
    const int64_t n = std::min(kRowChunkElems, len - begin);
    const A near = SumShifted<T, false>(input + begin, n, A(0)).plain / static_cast<A>(n);
    const A shift = std::isfinite(near) ? near : A(0);
    const ShiftedSums<A> sums = SumShifted<T, true>(input + begin, n, shift);
    const double off = static_cast<double>(sums.plain) / n;
    moments.Add(n, shift + off, sums.squared - off * sums.plain);
  }
  return moments;
}

template <typename A>
struct Statistics {
  A mean, rstd;
};

template <typename A>
Statistics<A> WriteStatistics(const ForwardArgs& args, int64_t ng, const Moments& moments) {
  const double variance = std::max(moments.squares, 0.0) / moments.count;
  const Statistics<A> statistics{
      static_cast<A>(moments.mean),
      // std::max drops a NaN of the squares; the mean has it too.
      static_cast<A>(1.0 / std::sqrt(variance + args.eps) + (moments.mean - moments.mean))};
  static_cast<A*>(args.mean)[ng] = statistics.mean;
  static_cast<A*>(args.rstd)[ng] = statistics.rstd;
  return statistics;
}

// One task is one group of one sample. A group larger than the cache is written from its last part
// backwards, as its end is still there.
template <typename T, bool kNonTemporal>
void ForwardRows(const ForwardArgs& args, int64_t begin, int64_t end, void*) {
  using A = AccOf<T>;
  const int64_t S = args.S, G = args.G, D = args.C / G, M = D * S;
  const int64_t part = args.plan.in_cache ? M : kRowChunkElems;
  for (int64_t ng = begin; ng < end; ++ng) {
    const T* input = static_cast<const T*>(args.input) + ng * M;
    T* output = static_cast<T*>(args.output) + ng * M;
    const A* weight = static_cast<const A*>(args.weight) + ng % G * D;
    const A* bias = static_cast<const A*>(args.bias) + ng % G * D;
    const Statistics<A> of = WriteStatistics<A>(args, ng, MomentsOf(input, M));
    const Pair<A> mean(of.mean);
    for (int64_t from = (M - 1) / part * part; from >= 0; from -= part) {
      WalkRows<T, kNonTemporal>(
          output, from, std::min(from + part, M), S,
          [&](int64_t d) __attribute__((always_inline)) {
            return std::array{Pair<A>(of.rstd * weight[d]), Pair<A>(bias[d])};
          },
          [&](const auto& access, int64_t i, const auto& values) __attribute__((always_inline)) {
            access.Put(output + i, MulAdd(access.Get(input + i) - mean, values[0], values[1]));
          });
    }
  }
  if constexpr (kNonTemporal) Fence();
}

// One task is a block of groups of a block of samples, short rows: weight and bias are spread over
// the elements of the groups.
template <typename T>
void ForwardFlat(const ForwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const Plan& plan = args.plan;
  const int64_t S = args.S, G = args.G, D = args.C / G, M = D * S;
  const int64_t padded = Steps<T>::Padded(M);
  A* by_element = static_cast<A*>(scratch);
  const auto spread = [&](const void* values, int64_t g, A* lanes) {
    for (int64_t d = 0; d < D; ++d) {
      std::fill_n(by_element + d * S, S, static_cast<const A*>(values)[g * D + d]);
    }
    Steps<T>::ToLanes(by_element, lanes, M);
  };
  for (int64_t task = begin; task < end; ++task) {
    const int64_t first_n = task / plan.group_blocks * plan.samples;
    const int64_t last_n = std::min(first_n + plan.samples, args.N);
    const int64_t first_g = task % plan.group_blocks * plan.groups;
    const int64_t groups = std::min(plan.groups, G - first_g);
    for (int64_t i = 0; i < groups; ++i) {
      spread(args.weight, first_g + i, by_element + padded * (1 + 2 * i));
      spread(args.bias, first_g + i, by_element + padded * (2 + 2 * i));
    }
    for (int64_t n = first_n; n < last_n; ++n) {
      for (int64_t i = 0; i < groups; ++i) {
        const int64_t ng = n * G + first_g + i;
        const T* input = static_cast<const T*>(args.input) + ng * M;
        T* output = static_cast<T*>(args.output) + ng * M;
        const Statistics<A> of = WriteStatistics<A>(args, ng, MomentsOf(input, M));
        const Pair<A> mean(of.mean), rstd(of.rstd);
        const A* weight = by_element + padded * (1 + 2 * i);
        const A* bias = weight + padded;
        WithAccess<T>(M, output, M, plan.non_temporal, [&](const auto& access) {
          Steps<T>::ForEach(
              M, [&](int64_t slot, int64_t element) __attribute__((always_inline)) {
                access.Put(output + element, MulAdd(access.Get(input + element) - mean,
                                                    rstd * Load(weight + slot), Load(bias + slot)));
              });
        });
      }
    }
  }
}

// plain, squared += the shifted sums of kRows rows of a block of channels.
template <typename T, int kRows, typename Access>
void SumShiftedRows(const Access& access, const T* input, int64_t stride, int64_t width,
                    const AccOf<T>* shift, AccOf<T>* plain, AccOf<T>* squared) {
  using A = AccOf<T>;
  Steps<T>::ForEach(
      width, [&](int64_t slot, int64_t channel) __attribute__((always_inline)) {
        Pair<A> of_plain = Load(plain + slot), of_squared = Load(squared + slot);
        const Pair<A> shift_pair = Load(shift + slot);
        for (int r = 0; r < kRows; ++r) {
          const Pair<A> x = access.Get(input + r * stride + channel) - shift_pair;
          of_plain = of_plain + x;
          of_squared = MulAdd(x, x, of_squared);
        }
        Store(plain + slot, of_plain);
        Store(squared + slot, of_squared);
      });
}

template <typename T, int kRows, typename Access>
void NormaliseRows(const Access& access, const T* input, T* output, int64_t stride, int64_t width,
                   const AccOf<T>* mean, const AccOf<T>* scale, const AccOf<T>* bias) {
  using A = AccOf<T>;
  Steps<T>::ForEach(
      width, [&](int64_t slot, int64_t channel) __attribute__((always_inline)) {
        const Pair<A> mean_pair = Load(mean + slot), scale_pair = Load(scale + slot);
        const Pair<A> bias_pair = Load(bias + slot);
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = r * stride + channel;
          access.Put(output + at,
                     MulAdd(access.Get(input + at) - mean_pair, scale_pair, bias_pair));
        }
      });
}

// Rows of the start of a sample whose mean is every channel's shift.
constexpr int64_t kShiftRows = 8;

// One task is a block of whole groups of one sample. Each channel is summed about a shift near its
// mean, in chunks of rows.
template <typename T>
void ForwardChannelsLast(const ForwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const Plan& plan = args.plan;
  const int64_t C = args.C, S = args.S, G = args.G, D = C / G;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / plan.group_blocks, first_g = task % plan.group_blocks * plan.groups;
    const int64_t groups = std::min(plan.groups, G - first_g), width = groups * D;
    const int64_t channel = first_g * D, padded = Steps<T>::Padded(width);
    const T* input = static_cast<const T*>(args.input) + n * S * C + channel;
    T* output = static_cast<T*>(args.output) + n * S * C + channel;
    A* arrays[kForwardChannelsLastScratchArrays];
    for (auto& array : arrays) array = static_cast<A*>(scratch) + (&array - arrays) * padded;
    auto& [shift, plain, squared, chunk_plain, chunk_squared, plain_error, squared_error, by_mean,
           by_scale, by_bias] = arrays;
    const auto sum_rows = [&](int64_t first, int64_t last) {
      std::fill_n(chunk_plain, padded, A(0));
      std::fill_n(chunk_squared, padded, A(0));
      WithAccess<T>(width, nullptr, C, false, [&](const auto& access) {
        ForRows(first, last, [&](int64_t s, int64_t apart, auto rows) {
          SumShiftedRows<T, rows>(access, input + s * C, apart * C, width, shift, chunk_plain,
                                  chunk_squared);
        });
      });
    };
    std::fill_n(shift, padded, A(0));
    const int64_t shift_rows = std::min(kShiftRows, S);
    sum_rows(0, shift_rows);
    for (int64_t i = 0; i < padded; ++i) {
      const A near = chunk_plain[i] / static_cast<A>(shift_rows);
      shift[i] = near - near == A(0) ? near : A(0);
    }
    for (A* array : {plain, squared, plain_error, squared_error}) std::fill_n(array, padded, A(0));
    for (int64_t s = 0; s < S; s += kChannelsLastChunkRows) {
      sum_rows(s, std::min(s + kChannelsLastChunkRows, S));
      AddExactly(plain, plain_error, chunk_plain, padded);
      AddExactly(squared, squared_error, chunk_squared, padded);
    }
    SettleExactly(plain, plain_error, padded);
    SettleExactly(squared, squared_error, padded);
    // Every channel's moments, by channel, then those of its group.
    Steps<T>::ToElements(shift, by_mean, width);
    Steps<T>::ToElements(plain, by_scale, width);
    Steps<T>::ToElements(squared, by_bias, width);
    for (int64_t g = 0; g < groups; ++g) {
      double sum = 0, squares = 0;
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        sum += by_mean[c] + static_cast<double>(by_scale[c]) / S;
      }
      const double mean = sum / D;
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        const double off = static_cast<double>(by_scale[c]) / S;
        const double delta = by_mean[c] + off - mean;
        squares += by_bias[c] - off * by_scale[c] + S * delta * delta;
      }
      const Statistics<A> of = WriteStatistics<A>(args, n * G + first_g + g,
                                                  {static_cast<double>(D * S), mean, squares});
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        by_mean[c] = of.mean;
        by_scale[c] = of.rstd * static_cast<const A*>(args.weight)[channel + c];
        by_bias[c] = static_cast<const A*>(args.bias)[channel + c];
      }
    }
    Steps<T>::ToLanes(by_mean, shift, width);
    Steps<T>::ToLanes(by_scale, plain, width);
    Steps<T>::ToLanes(by_bias, squared, width);
    const int64_t chunks = (S + kChannelsLastChunkRows - 1) / kChannelsLastChunkRows;
    WithAccess<T>(width, output, C, plan.non_temporal, [&](const auto& access) {
      for (int64_t k = 0; k < chunks; ++k) {
        const int64_t chunk = plan.in_cache ? k : chunks - 1 - k;
        const int64_t begin = chunk * kChannelsLastChunkRows;
        ForRows(begin, std::min(begin + kChannelsLastChunkRows, S),
                [&](int64_t s, int64_t apart, auto rows) {
                  NormaliseRows<T, rows>(access, input + s * C, output + s * C, apart * C, width,
                                         shift, plain, squared);
                });
      }
    });
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
