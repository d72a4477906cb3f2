// Backward over contiguous data: a channel of a sample is one row of S elements.
#pragma once

#include <algorithm>

#include "access.h"
#include "backward_group.h"

namespace group_norm_grad::cpu {
namespace {

// Sums over a row, or a chunk of one, their lanes yet to be added.
template <typename A>
struct RowLanes {
  Vec<A> centred, plain;
};

template <typename A>
struct RowSums {
  A centred, plain;
};

// before: elements of the row in front of the chunk, which a last
// short step may reload; keep: the elements of that step that are its own.
template <typename T, bool kCentred>
C10_ALWAYS_INLINE RowLanes<AccOf<T>> SumChunk(const T* grad_out, const T* input, int64_t before,
                                              int64_t len, AccOf<T> mean,
                                              const Pair<AccOf<T>>& keep) {
  using A = AccOf<T>;
  constexpr int64_t kStep = kPair<A>;
  const Pair<A> mean_pair(mean);
  Pair<A> centred, plain, centred2, plain2;
  int64_t i = 0;
  for (; i + 2 * kStep <= len; i += 2 * kStep) {
    const Pair<A> dy = Load(grad_out + i), dy2 = Load(grad_out + i + kStep);
    plain = plain + dy;
    plain2 = plain2 + dy2;
    if constexpr (kCentred) {
      centred = MulAdd(dy, Load(input + i) - mean_pair, centred);
      centred2 = MulAdd(dy2, Load(input + i + kStep) - mean_pair, centred2);
    }
  }
  if (i + kStep <= len) {
    const Pair<A> dy = Load(grad_out + i);
    plain = plain + dy;
    if constexpr (kCentred) centred = MulAdd(dy, Load(input + i) - mean_pair, centred);
    i += kStep;
  }
  if (i < len) {
    Pair<A> dy, x;
    if (C10_LIKELY(before + len >= kStep)) {
      dy = Load(grad_out + len - kStep) & keep;
      if constexpr (kCentred) x = (Load(input + len - kStep) - mean_pair) & keep;
    } else {
      dy = LoadFirst(grad_out + i, len - i);
      if constexpr (kCentred) x = LoadFirst(input + i, len - i) - mean_pair;
    }
    plain2 = plain2 + dy;
    if constexpr (kCentred) centred2 = MulAdd(dy, x, centred2);
  }
  return {Fold(centred + centred2), Fold(plain + plain2)};
}

template <typename T>
struct RowsOf {
  using A = AccOf<T>;
  const BackwardArgs& args;
  const T* grad_out = static_cast<const T*>(args.grad_out);
  const T* input = static_cast<const T*>(args.input);
  T* grad_input = static_cast<T*>(args.grad_input);
  const A* mean = static_cast<const A*>(args.mean);
  const A* rstd = static_cast<const A*>(args.rstd);
  const A* weight = static_cast<const A*>(args.weight);
  const int64_t C = args.C, S = args.S, G = args.G, D = args.C / args.G;
  static constexpr int64_t kChunk = RowChunkElems(kPair<A>);
  const Pair<A> keep = ElementsFrom<T>(kPair<A> - args.S % kPair<A>);

  int64_t ChunkBegin(int64_t chunk) const { return chunk * kChunk; }
  int64_t ChunkLen(int64_t chunk) const { return std::min(kChunk, S - ChunkBegin(chunk)); }

  // row = n * C + c
  template <bool kCentred>
  C10_ALWAYS_INLINE RowLanes<A> Lanes(int64_t row, int64_t chunk, A group_mean) const {
    const int64_t before = ChunkBegin(chunk), at = row * S + before;
    if constexpr (kHasMaskedSteps) {
      if (S <= kHalf<A>) {
        const Vec<A> dy = LoadHalfFirst(grad_out + at, S);
        if constexpr (!kCentred) return {Vec<A>(A(0)), dy};
        return {dy * (LoadHalfFirst(input + at, S) - Vec<A>(group_mean)), dy};
      }
    }
    return SumChunk<T, kCentred>(grad_out + at, input + at, before, ChunkLen(chunk), group_mean,
                                 keep);
  }

  template <bool kCentred>
  RowSums<A> Sums(int64_t row, int64_t chunk, A group_mean) const {
    const RowLanes<A> lanes = Lanes<kCentred>(row, chunk, group_mean);
    A sums[4];
    SumEach({lanes.centred, lanes.plain, Vec<A>(A(0)), Vec<A>(A(0))}, sums);
    return {sums[0], sums[1]};
  }

  // grad_input over elements [from, to) of a group.
  template <bool kNonTemporal>
  C10_ALWAYS_INLINE void Apply(int64_t ng, int64_t from, int64_t to, Slopes<A> slopes) const {
    const int64_t at = ng * D * S;
    const T *dy = grad_out + at, *x = input + at;
    T* dx = grad_input + at;
    const A *group_weight = weight + ng % G * D, group_rstd = rstd[ng];
    const Pair<A> group_mean(mean[ng]), centred(slopes.centred), constant(slopes.constant);
    WalkRows<T, kNonTemporal>(
        dx, from, to, S,
        [&](int64_t row) __attribute__((always_inline)) {
          return std::array{Pair<A>(group_rstd * group_weight[row])};
        },
        [&](const auto& access, int64_t i, const auto& scale) __attribute__((always_inline)) {
          const Pair<A> x_centred = access.Get(x + i) - group_mean;
          access.Put(dx + i,
                     MulAdd(scale[0], access.Get(dy + i), MulAdd(centred, x_centred, constant)));
        });
  }
};

// centred, plain = the sums over D rows, of their chunks: chunk_sums(d, chunk), added in the one
// order that every schedule keeps.
template <typename A, typename ChunkSums>
void AddRowChunks(int64_t D, int64_t chunks, A* centred, A* plain, const ChunkSums& chunk_sums) {
  for (int64_t d = 0; d < D; ++d) {
    ExactSum<A> of_centred, of_plain;
    for (int64_t k = 0; k < chunks; ++k) {
      const RowSums<A> sums = chunk_sums(d, k);
      of_centred.Add(sums.centred);
      of_plain.Add(sums.plain);
    }
    centred[d] = of_centred.Value();
    plain[d] = of_plain.Value();
  }
}

// centred, plain = the sums over a group's rows.
template <typename T, bool kCentred>
void SumGroup(const RowsOf<T>& rows, int64_t ng, AccOf<T>* centred, AccOf<T>* plain) {
  using A = AccOf<T>;
  const int64_t D = rows.D, chunks = rows.args.plan.chunks;
  const A mean = rows.mean[ng];
  int64_t d = 0;
  // Rows of one chunk have their lanes added four at a time.
  for (; chunks == 1 && d + 4 <= D; d += 4) {
    const auto lanes = [&](int64_t i) __attribute__((always_inline)) {
      return rows.template Lanes<kCentred>(ng * D + d + i, 0, mean);
    };
    const RowLanes<A> a = lanes(0), b = lanes(1), c = lanes(2), e = lanes(3);
    SumEach({a.centred, b.centred, c.centred, e.centred}, centred + d);
    SumEach({a.plain, b.plain, c.plain, e.plain}, plain + d);
  }
  AddRowChunks(D - d, chunks, centred + d, plain + d, [&](int64_t row, int64_t chunk) {
    return rows.template Sums<kCentred>(ng * D + d + row, chunk, mean);
  });
}

// From the sums over a group's rows, sum_rows(centred, plain): its part of the partial weight
// gradients, and its slopes. scratch: A (2, D).
template <typename T, typename SumRows>
Slopes<AccOf<T>> FinishGroup(const RowsOf<T>& rows, int64_t ng, void* scratch,
                             const SumRows& sum_rows) {
  using A = AccOf<T>;
  const int64_t D = rows.D, g = ng % rows.G;
  A* centred = static_cast<A*>(scratch);
  A* plain = centred + D;
  sum_rows(centred, plain);
  WritePartials(rows.args, ng / rows.G, g * D, centred, plain, D, rows.rstd[ng]);
  if (rows.grad_input == nullptr) return {};
  return GroupSlopes(rows.weight + g * D, centred, plain, D, rows.S, rows.rstd[ng]);
}

// One task is one group of one sample: its sums in order, then grad_input. First of the group's
// end, which the first cache still has; then of the rest from the start, or backwards where the
// group is larger than the second cache.
template <typename T, bool kNonTemporal>
void FusedRows(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const RowsOf<T> rows{args};
  const bool needs_centred = NeedsCentredSum(args);
  const int64_t M = rows.D * rows.S, last = (M - 1) / rows.kChunk * rows.kChunk;
  const int64_t part = args.plan.in_cache ? last : kBackwardsElems;
  for (int64_t ng = begin; ng < end; ++ng) {
    const Slopes<A> slopes = FinishGroup(rows, ng, scratch, [&](A* centred, A* plain) {
      needs_centred ? SumGroup<T, true>(rows, ng, centred, plain)
                    : SumGroup<T, false>(rows, ng, centred, plain);
    });
    if (rows.grad_input == nullptr) continue;
    rows.template Apply<kNonTemporal>(ng, last, M, slopes);
    for (int64_t to = last; to > 0; to -= part) {
      rows.template Apply<kNonTemporal>(ng, std::max<int64_t>(to - part, 0), to, slopes);
    }
  }
  if constexpr (kNonTemporal) Fence();
}

// One task is one chunk of one row.
template <typename T>
void SplitRowsSums(const BackwardArgs& args, int64_t begin, int64_t end, void*) {
  using A = AccOf<T>;
  const RowsOf<T> rows{args};
  const bool needs_centred = NeedsCentredSum(args);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const A mean = rows.mean[row / rows.D];
    const RowSums<A> sums = needs_centred ? rows.template Sums<true>(row, chunk, mean)
                                          : rows.template Sums<false>(row, chunk, mean);
    static_cast<A*>(args.chunk_centred)[task] = sums.centred;
    static_cast<A*>(args.chunk_plain)[task] = sums.plain;
  }
}

// One task is one group of one sample.
template <typename T>
void SplitRowsFinish(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const RowsOf<T> rows{args};
  for (int64_t ng = begin; ng < end; ++ng) {
    static_cast<Slopes<A>*>(args.slopes)[ng] =
        FinishGroup(rows, ng, scratch, [&](A* centred, A* plain) {
          AddRowChunks(rows.D, args.plan.chunks, centred, plain, [&](int64_t d, int64_t chunk) {
            const int64_t at = (ng * rows.D + d) * args.plan.chunks + chunk;
            return RowSums<A>{static_cast<const A*>(args.chunk_centred)[at],
                              static_cast<const A*>(args.chunk_plain)[at]};
          });
        });
  }
}

// Tasks as in SplitRowsSums, in the opposite order: the first ones run find in cache what the sums
// read last.
template <typename T, bool kNonTemporal>
void SplitRowsApply(const BackwardArgs& args, int64_t begin, int64_t end, void*) {
  const RowsOf<T> rows{args};
  for (int64_t task = end - 1; task >= begin; --task) {
    const int64_t row = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const int64_t ng = row / rows.D, from = row % rows.D * rows.S + rows.ChunkBegin(chunk);
    rows.template Apply<kNonTemporal>(ng, from, from + rows.ChunkLen(chunk),
                                      static_cast<const Slopes<AccOf<T>>*>(args.slopes)[ng]);
  }
  if constexpr (kNonTemporal) Fence();
}

}  // namespace
}  // namespace group_norm_grad::cpu
