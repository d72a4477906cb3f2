// Backward over contiguous data with short rows: the elements of a group, D * S of them, are walked
// as one row, and what belongs to a channel is summed over the samples first and over its S
// elements last.
#pragma once

#include <algorithm>

#include "backward_group.h"
#include "lanes.h"

namespace group_norm_grad::cpu {
namespace {

// Steps summed plainly before their sum is added exactly.
constexpr int64_t kFlatChunkSteps = 128;

template <typename T>
struct FlatGroup {
  using A = AccOf<T>;
  using Walk = Steps<T>;

  // The weight of each element in two lane arrays, and the sums over the samples of grad_out * xhat
  // and of grad_out. In counted the elements that two steps share have their weight in one of them
  // only.
  A *weight, *counted, *sum_weight, *sum_bias;

  FlatGroup(A* scratch, int64_t padded)
      : weight(scratch),
        counted(scratch + padded),
        sum_weight(scratch + 2 * padded),
        sum_bias(scratch + 3 * padded) {}
};

// Sums of one group of one sample, adding each element's to the group's sums over the samples.
template <typename T, bool kFirst>
Slopes<AccOf<T>> SumFlat(const FlatGroup<T>& group, const T* grad_out, const T* input, int64_t M,
                         AccOf<T> mean, AccOf<T> rstd) {
  using A = AccOf<T>;
  constexpr int64_t kStep = kPair<A>;
  const Pair<A> mean_pair(mean), rstd_pair(rstd);
  ExactSum<A> of_centred, of_plain;
  const int64_t padded = RoundUp(M, kStep);
  for (int64_t begin = 0; begin < padded; begin += kFlatChunkSteps * kStep) {
    Pair<A> centred, plain;
    for (int64_t slot = begin; slot < std::min(padded, begin + kFlatChunkSteps * kStep);
         slot += kStep) {
      const int64_t element = std::min(slot, M - kStep);
      const Pair<A> dy = Load(grad_out + element);
      const Pair<A> xhat = (Load(input + element) - mean_pair) * rstd_pair;
      const Pair<A> weighted = Load(group.counted + slot) * dy;
      plain = plain + weighted;
      centred = MulAdd(weighted, xhat, centred);
      if constexpr (kFirst) {
        Store(group.sum_weight + slot, dy * xhat);
        Store(group.sum_bias + slot, dy);
      } else {
        Store(group.sum_weight + slot, MulAdd(dy, xhat, Load(group.sum_weight + slot)));
        Store(group.sum_bias + slot, Load(group.sum_bias + slot) + dy);
      }
    }
    of_centred.Add(Sum(centred));
    of_plain.Add(Sum(plain));
  }
  const A scale = A(1) / static_cast<A>(M);
  return {-(of_centred.Value() * scale) * rstd * rstd, -(of_plain.Value() * scale) * rstd};
}

template <typename T>
void ApplyFlat(const FlatGroup<T>& group, const T* grad_out, const T* input, T* grad_input,
               int64_t M, AccOf<T> mean, AccOf<T> rstd, Slopes<AccOf<T>> slopes) {
  using A = AccOf<T>;
  const Pair<A> mean_pair(mean), rstd_pair(rstd);
  const Pair<A> centred(slopes.centred), constant(slopes.constant);
  Steps<T>::ForEach(
      M, [&](int64_t slot, int64_t element) __attribute__((always_inline)) {
        const Pair<A> scale = Load(group.weight + slot) * rstd_pair;
        const Pair<A> x = Load(input + element) - mean_pair;
        Store(grad_input + element,
              MulAdd(scale, Load(grad_out + element), MulAdd(centred, x, constant)));
      });
}

// One task is a block of groups of a block of samples; a group has at least one step of elements.
// Within a sample the groups are taken in turn, which is the order of memory.
template <typename T>
void FusedFlat(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const Plan& plan = args.plan;
  const int64_t C = args.C, S = args.S, G = args.G, D = C / G, M = D * S;
  const int64_t padded = Steps<T>::Padded(M);
  const A* weight = static_cast<const A*>(args.weight);
  A* by_element = static_cast<A*>(scratch);
  const auto group_of = [&](int64_t i) {
    return FlatGroup<T>(by_element + padded * (1 + kFlatScratchArrays * i), padded);
  };
  for (int64_t task = begin; task < end; ++task) {
    const int64_t block = task / plan.group_blocks;
    const int64_t first_n = block * plan.samples, last_n = std::min(first_n + plan.samples, args.N);
    const int64_t first_g = task % plan.group_blocks * plan.groups;
    const int64_t groups = std::min(plan.groups, G - first_g);
    for (int64_t i = 0; i < groups; ++i) {
      const FlatGroup<T> group = group_of(i);
      for (int64_t d = 0; d < D; ++d) {
        std::fill_n(by_element + d * S, S, weight[(first_g + i) * D + d]);
      }
      Steps<T>::ToLanes(by_element, group.weight, M);
      std::copy_n(group.weight, padded, group.counted);
      for (int64_t again = 0; again < padded - M; ++again) {
        group.counted[padded - kPair<A> + LaneOf<T>(again)] = A(0);
      }
    }
    for (int64_t n = first_n; n < last_n; ++n) {
      for (int64_t i = 0; i < groups; ++i) {
        const FlatGroup<T> group = group_of(i);
        const int64_t ng = n * G + first_g + i, at = ng * M;
        const A mean = static_cast<const A*>(args.mean)[ng];
        const A rstd = static_cast<const A*>(args.rstd)[ng];
        const T* grad_out = static_cast<const T*>(args.grad_out) + at;
        const T* input = static_cast<const T*>(args.input) + at;
        const auto sum = n == first_n ? SumFlat<T, true> : SumFlat<T, false>;
        const Slopes<A> slopes = sum(group, grad_out, input, M, mean, rstd);
        if (args.grad_input == nullptr) continue;
        ApplyFlat<T>(group, grad_out, input, static_cast<T*>(args.grad_input) + at, M, mean, rstd,
                     slopes);
      }
    }
    const auto finish = [&](const A* lanes, void* partial, int64_t i) {
      if (partial == nullptr) return;
      Steps<T>::ToElements(lanes, by_element, M);
      A* out = static_cast<A*>(partial) + block * C + (first_g + i) * D;
      for (int64_t d = 0; d < D; ++d) {
        A sum = 0;
        for (int64_t s = 0; s < S; ++s) sum += by_element[d * S + s];
        out[d] = sum;
      }
    };
    for (int64_t i = 0; i < groups; ++i) {
      finish(group_of(i).sum_weight, args.partial_weight, i);
      finish(group_of(i).sum_bias, args.partial_bias, i);
    }
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
