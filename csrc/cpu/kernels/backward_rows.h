// Backward over contiguous data: a channel of a sample is one row of S elements.
#pragma once

#include <algorithm>

#include "access.h"
#include "backward_group.h"

namespace group_norm_grad::cpu {
namespace {

template <typename A>
struct RowSums {
  A centred = 0, plain = 0;
};

// Sums over one chunk of a row. before: elements of the row in front of the chunk, which a last
// short step may reload; keep: the elements of that step that are its own.
template <typename T, bool kCentred>
C10_ALWAYS_INLINE RowSums<AccOf<T>> SumChunk(const T* grad_out, const T* input, int64_t before,
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
  const auto [of_centred, of_plain] = Sums(centred + centred2, plain + plain2);
  return {of_centred, of_plain};
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
  const Pair<A> keep = ElementsFrom<T>(kPair<A> - args.S % kPair<A>);

  int64_t ChunkBegin(int64_t chunk) const { return chunk * kRowChunkElems; }
  int64_t ChunkLen(int64_t chunk) const { return std::min(kRowChunkElems, S - ChunkBegin(chunk)); }

  // row = n * C + c
  RowSums<A> Sums(int64_t row, int64_t chunk, A group_mean, bool centred) const {
    const int64_t before = ChunkBegin(chunk), len = ChunkLen(chunk), at = row * S + before;
    return centred ? SumChunk<T, true>(grad_out + at, input + at, before, len, group_mean, keep)
                   : SumChunk<T, false>(grad_out + at, input + at, before, len, group_mean, keep);
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

// Adds up a group's chunks, chunk_sums(row, chunk), in the one order that every schedule keeps;
// writes its part of the partial weight gradients and returns its slopes. scratch: A (2, D).
template <typename T, typename ChunkSums>
Slopes<AccOf<T>> FinishGroup(const RowsOf<T>& rows, int64_t ng, void* scratch,
                             const ChunkSums& chunk_sums) {
  using A = AccOf<T>;
  const int64_t D = rows.D, g = ng % rows.G;
  A* centred = static_cast<A*>(scratch);
  A* plain = centred + D;
  for (int64_t d = 0; d < D; ++d) {
    if (rows.args.plan.chunks == 1) {
      const RowSums<A> sums = chunk_sums(ng * D + d, 0);
      centred[d] = sums.centred;
      plain[d] = sums.plain;
      continue;
    }
    ExactSum<A> of_centred, of_plain;
    for (int64_t k = 0; k < rows.args.plan.chunks; ++k) {
      const RowSums<A> sums = chunk_sums(ng * D + d, k);
      of_centred.Add(sums.centred);
      of_plain.Add(sums.plain);
    }
    centred[d] = of_centred.Value();
    plain[d] = of_plain.Value();
  }
  WritePartials(rows.args, ng / rows.G, g * D, centred, plain, D, rows.rstd[ng]);
  if (rows.grad_input == nullptr) return {};
  return GroupSlopes(rows.weight + g * D, centred, plain, D, rows.S, rows.rstd[ng]);
}

// One task is one group of one sample: its sums in order, then grad_input; from its last part
// backwards where the group is larger than the cache, whose end is then still there.
template <typename T, bool kNonTemporal>
void FusedRows(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const RowsOf<T> rows{args};
  const bool needs_centred = NeedsCentredSum(args);
  const int64_t M = rows.D * rows.S, part = args.plan.in_cache ? M : kRowChunkElems;
  for (int64_t ng = begin; ng < end; ++ng) {
    const A mean = rows.mean[ng];
    const Slopes<A> slopes = FinishGroup(rows, ng, scratch, [&](int64_t row, int64_t chunk) {
      return rows.Sums(row, chunk, mean, needs_centred);
    });
    if (rows.grad_input == nullptr) continue;
    for (int64_t from = (M - 1) / part * part; from >= 0; from -= part) {
      rows.template Apply<kNonTemporal>(ng, from, std::min(from + part, M), slopes);
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
    const RowSums<A> sums = rows.Sums(row, chunk, rows.mean[row / rows.D], needs_centred);
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
        FinishGroup(rows, ng, scratch, [&](int64_t row, int64_t chunk) {
          const int64_t at = row * args.plan.chunks + chunk;
          return RowSums<A>{static_cast<const A*>(args.chunk_centred)[at],
                            static_cast<const A*>(args.chunk_plain)[at]};
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
