// Forward over contiguous data: rows, or a group walked as one row.
#pragma once

#include <algorithm>
#include <cmath>

#include "forward_group.h"
#include "lanes.h"

namespace group_norm_grad::cpu {
namespace {

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
  A sums[4];
  SumEach({Fold(plain + plain2), Fold(squared + squared2), Vec<A>(A(0)), Vec<A>(A(0))}, sums);
  return {sums[0], sums[1]};
}

template <typename A>
constexpr int64_t kRowChunk = RowChunkElems(kPair<A>);

// Elements of the start of a chunk whose mean is its shift.
template <typename A>
constexpr int64_t kShiftElems = kRowChunk<A> / 4;

// The moments of a chunk, from sums about the mean of its first elements. If these are a q-th of
// the chunk, the squares about that shift sum up to at most 1 + q times the squares about the
// chunk's own mean, whatever the values: those of the first elements alone sum up to at least their
// number times the squared distance of the two means.
template <typename T>
Moments MomentsOfChunk(const T* input, int64_t len) {
  using A = AccOf<T>;
  const int64_t first = std::min(len, kShiftElems<A>);
  const A near = SumShifted<T, false>(input, first, A(0)).plain / static_cast<A>(first);
  const A shift = std::isfinite(near) ? near : A(0);
  const ShiftedSums<A> sums = SumShifted<T, true>(input, len, shift);
  const double off = static_cast<double>(sums.plain) / len;
  return {static_cast<double>(len), shift + off, sums.squared - off * sums.plain};
}

template <typename T>
Moments MomentsOf(const T* input, int64_t len) {
  using A = AccOf<T>;
  if (len <= kRowChunk<A>) return MomentsOfChunk(input, len);
  Moments moments;
  for (int64_t begin = 0; begin < len; begin += kRowChunk<A>) {
    AddMoments(moments, MomentsOfChunk(input + begin, std::min(kRowChunk<A>, len - begin)));
  }
  return moments;
}

// A group of a sample as one stretch of D * S elements, in chunks.
template <typename T>
struct ForwardGroup {
  using A = AccOf<T>;
  const ForwardArgs& args;
  int64_t ng;

  const int64_t S = args.S, G = args.G, D = args.C / G, M = D * S;
  const T* input = static_cast<const T*>(args.input) + ng * M;
  T* output = static_cast<T*>(args.output) + ng * M;

  static constexpr int64_t kChunk = kRowChunk<A>;
  int64_t ChunkEnd(int64_t chunk) const { return std::min((chunk + 1) * kChunk, M); }

  Moments ChunkMoments(int64_t chunk) const {
    const int64_t from = chunk * kChunk;
    return MomentsOfChunk(input + from, ChunkEnd(chunk) - from);
  }

  // output over elements [from, to), once the group has its statistics.
  template <bool kNonTemporal>
  C10_ALWAYS_INLINE void Normalise(int64_t from, int64_t to) const {
    const A* weight = static_cast<const A*>(args.weight) + ng % G * D;
    const A* bias = static_cast<const A*>(args.bias) + ng % G * D;
    const A rstd = static_cast<const A*>(args.rstd)[ng];
    const Pair<A> mean(static_cast<const A*>(args.mean)[ng]);
    const T* x = input;
    T* out = output;
    WalkRows<T, kNonTemporal>(
        out, from, to, S,
        [&](int64_t d) __attribute__((always_inline)) {
          return std::array{Pair<A>(rstd * weight[d]), Pair<A>(bias[d])};
        },
        [&](const auto& access, int64_t i, const auto& values) __attribute__((always_inline)) {
          access.Put(out + i, MulAdd(access.Get(x + i) - mean, values[0], values[1]));
        });
  }
};

// One task is one group of one sample. A group larger than the cache is written from its last part
// backwards, as its end is still there.
template <typename T, bool kNonTemporal>
void ForwardRows(const ForwardArgs& args, int64_t begin, int64_t end, void*) {
  for (int64_t ng = begin; ng < end; ++ng) {
    const ForwardGroup<T> group{args, ng};
    WriteStatistics<AccOf<T>>(args, ng, MomentsOf(group.input, group.M));
    const int64_t part = args.plan.in_cache ? group.M : kBackwardsElems;
    for (int64_t from = (group.M - 1) / part * part; from >= 0; from -= part) {
      group.template Normalise<kNonTemporal>(from, std::min(from + part, group.M));
    }
  }
  if constexpr (kNonTemporal) Fence();
}

// One task is one chunk of one group of one sample.
template <typename T>
void SplitForwardRowsSums(const ForwardArgs& args, int64_t begin, int64_t end, void*) {
  for (int64_t task = begin; task < end; ++task) {
    static_cast<Moments*>(args.chunk_sums)[task] =
        ForwardGroup<T>{args, task / args.plan.chunks}.ChunkMoments(task % args.plan.chunks);
  }
}

// One task is one group of one sample.
template <typename T>
void SplitForwardRowsFinish(const ForwardArgs& args, int64_t begin, int64_t end, void*) {
  for (int64_t ng = begin; ng < end; ++ng) {
    Moments moments;
    for (int64_t k = 0; k < args.plan.chunks; ++k) {
      AddMoments(moments, static_cast<const Moments*>(args.chunk_sums)[ng * args.plan.chunks + k]);
    }
    WriteStatistics<AccOf<T>>(args, ng, moments);
  }
}

// Tasks as in SplitForwardRowsSums, in the opposite order.
template <typename T, bool kNonTemporal>
void SplitForwardRowsApply(const ForwardArgs& args, int64_t begin, int64_t end, void*) {
  for (int64_t task = end - 1; task >= begin; --task) {
    const int64_t chunk = task % args.plan.chunks;
    const ForwardGroup<T> group{args, task / args.plan.chunks};
    group.template Normalise<kNonTemporal>(chunk * group.kChunk, group.ChunkEnd(chunk));
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
      for (int64_t first = 0; first < groups; first += kFlatGroupsAtOnce) {
        const int64_t last = std::min(first + kFlatGroupsAtOnce, groups);
        const int64_t first_ng = n * G + first_g;
        for (int64_t i = first; i < last; ++i) {
          const int64_t ng = first_ng + i;
          WriteStatistics<A>(args, ng, MomentsOf(static_cast<const T*>(args.input) + ng * M, M));
        }
        for (int64_t i = first; i < last; ++i) {
          const int64_t ng = first_ng + i;
          const T* input = static_cast<const T*>(args.input) + ng * M;
          T* output = static_cast<T*>(args.output) + ng * M;
          const Pair<A> mean(static_cast<const A*>(args.mean)[ng]);
          const Pair<A> rstd(static_cast<const A*>(args.rstd)[ng]);
          const A* weight = by_element + padded * (1 + 2 * i);
          const A* bias = weight + padded;
          WithAccess<T>(M, output, M, plan.non_temporal, [&](const auto& access) {
            Steps<T>::ForEach(
                M, [&](int64_t slot, int64_t element) __attribute__((always_inline)) {
                  access.Put(output + element,
                             MulAdd(access.Get(input + element) - mean, rstd * Load(weight + slot),
                                    Load(bias + slot)));
                });
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
