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

// Samples that share the loads and stores of the arrays by element.
constexpr int64_t kFlatSamplesAtOnce = 2;

// Of the first of these samples, from a task's first group on.
template <typename T>
struct FlatData {
  using A = AccOf<T>;
  const T *grad_out, *input;
  T* grad_input;
  const A *mean, *rstd;
  int64_t M, G;
};

// Sums of group i, adding each element's to the group's sums over the samples.
template <typename T, int kSamples, typename Access>
void SumFlat(const Access& access, const FlatGroup<T>& group, const FlatData<T>& data, int64_t i,
             Slopes<AccOf<T>>* slopes) {
  using A = AccOf<T>;
  constexpr int64_t kStep = kPair<A>, kChunk = kFlatChunkSteps * kStep;
  const int64_t M = data.M, first = i * M, from_sample = data.G * M;
  const int64_t padded = RoundUp(M, kStep), last = std::max<int64_t>(M - kStep, 0);
  const A scale = A(1) / static_cast<A>(M);
  const auto set_slopes = [&](int n, A sum_centred, A sum_plain) {
    const A r = data.rstd[n * data.G + i];
    slopes[n] = {-(sum_centred * scale) * r * r, -(sum_plain * scale) * r};
  };
  Pair<A> mean[kSamples], rstd[kSamples];
  ExactSum<A> of_centred[kSamples], of_plain[kSamples];
  for (int n = 0; n < kSamples; ++n) {
    mean[n] = Pair<A>(data.mean[n * data.G + i]);
    rstd[n] = Pair<A>(data.rstd[n * data.G + i]);
  }
  for (int64_t begin = 0; begin < padded; begin += kChunk) {
    Pair<A> centred[kSamples], plain[kSamples];
    const int64_t end = std::min(padded, begin + kChunk);
    for (int64_t slot = begin; slot < end; slot += kStep) {
      const int64_t element = std::min(slot, last);
      const Pair<A> counted = Load(group.counted + slot);
      Pair<A> sum_weight = Load(group.sum_weight + slot), sum_bias = Load(group.sum_bias + slot);
      for (int n = 0; n < kSamples; ++n) {
        const int64_t at = first + n * from_sample + element;
        const Pair<A> dy = access.Get(data.grad_out + at);
        const Pair<A> xhat = (access.Get(data.input + at) - mean[n]) * rstd[n];
        const Pair<A> weighted = counted * dy;
        plain[n] = plain[n] + weighted;
        centred[n] = MulAdd(weighted, xhat, centred[n]);
        sum_weight = MulAdd(dy, xhat, sum_weight);
        sum_bias = sum_bias + dy;
      }
      Store(group.sum_weight + slot, sum_weight);
      Store(group.sum_bias + slot, sum_bias);
    }
    static_assert(kSamples <= 2);
    const Vec<A> none(A(0));
    Vec<A> lanes[4] = {none, none, none, none};
    for (int n = 0; n < kSamples; ++n) {
      lanes[n] = Fold(centred[n]);
      lanes[2 + n] = Fold(plain[n]);
    }
    A sums[4];
    SumEach(lanes, sums);
    for (int n = 0; n < kSamples; ++n) {
      if (padded <= kChunk) {
        set_slopes(n, sums[n], sums[2 + n]);
        continue;
      }
      of_centred[n].Add(sums[n]);
      of_plain[n].Add(sums[2 + n]);
    }
  }
  if (padded <= kChunk) return;
  for (int n = 0; n < kSamples; ++n) set_slopes(n, of_centred[n].Value(), of_plain[n].Value());
}

template <typename T, int kSamples, typename Access>
void ApplyFlat(const Access& access, const FlatGroup<T>& group, const FlatData<T>& data, int64_t i,
               const Slopes<AccOf<T>>* slopes) {
  using A = AccOf<T>;
  const int64_t M = data.M, first = i * M, from_sample = data.G * M;
  Pair<A> mean[kSamples], rstd[kSamples], centred[kSamples], constant[kSamples];
  for (int n = 0; n < kSamples; ++n) {
    mean[n] = Pair<A>(data.mean[n * data.G + i]);
    rstd[n] = Pair<A>(data.rstd[n * data.G + i]);
    centred[n] = Pair<A>(slopes[n].centred);
    constant[n] = Pair<A>(slopes[n].constant);
  }
  Steps<T>::ForEach(
      M, [&](int64_t slot, int64_t element) __attribute__((always_inline)) {
        const Pair<A> weight = Load(group.weight + slot);
        Pair<A> result[kSamples];
        for (int n = 0; n < kSamples; ++n) {
          const int64_t at = first + n * from_sample + element;
          const Pair<A> x = access.Get(data.input + at) - mean[n];
          result[n] = MulAdd(weight * rstd[n], access.Get(data.grad_out + at),
                             MulAdd(centred[n], x, constant[n]));
        }
        // Stored last, as in kRowsAtOnce.
        for (int n = 0; n < kSamples; ++n) {
          access.Put(data.grad_input + first + n * from_sample + element, result[n]);
        }
      });
}

// The group's part of the partial weight gradients, from output element `to` on: what a channel's S
// elements have. by_element: A (padded M).
template <typename T>
void FinishFlat(const FlatGroup<T>& group, int64_t M, int64_t S, AccOf<T>* by_element, int64_t to,
                const BackwardArgs& args) {
  using A = AccOf<T>;
  const Vec<A> none(A(0));
  const auto finish = [&](const A* values, void* partial) {
    if (partial == nullptr) return;
    Steps<T>::ToElements(values, by_element, M);
    A* out = static_cast<A*>(partial) + to;
    if (S == 1) {
      std::copy_n(by_element, M, out);
      return;
    }
    for (int64_t row = 0; row < M; row += 4 * S) {
      Vec<A> lanes[4] = {none, none, none, none};
      const int64_t rows = std::min<int64_t>((M - row) / S, 4);
      for (int64_t i = 0; i < rows; ++i) {
        Pair<A> sum;
        for (int64_t at = 0; at < S; at += kPair<A>) {
          sum = sum + LoadFirst(by_element + row + i * S + at, std::min(S - at, kPair<A>));
        }
        lanes[i] = Fold(sum);
      }
      A sums[4];
      SumEach(lanes, sums);
      out = std::copy_n(sums, rows, out);
    }
  };
  finish(group.sum_weight, args.partial_weight);
  finish(group.sum_bias, args.partial_bias);
}

// One task is a block of groups of a block of samples. Within a sample the groups are taken in
// turn, which is the order of memory.
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
      std::fill_n(by_element + M, padded - M, A(0));
      Steps<T>::ToLanes(by_element, group.weight, M);
      std::copy_n(group.weight, padded, group.counted);
      // The elements that the step in front has; a group narrower than a step has none.
      for (int64_t again = 0; M > kPair<A> && again < padded - M; ++again) {
        group.counted[padded - kPair<A> + LaneOf<T>(again)] = A(0);
      }
      std::fill_n(group.sum_weight, padded, A(0));
      std::fill_n(group.sum_bias, padded, A(0));
    }
    const auto pass = [&](int64_t n, auto samples) {
      const int64_t ng = n * G + first_g, at = ng * M;
      const FlatData<T> data{
          static_cast<const T*>(args.grad_out) + at,
          static_cast<const T*>(args.input) + at,
          args.grad_input == nullptr ? nullptr : static_cast<T*>(args.grad_input) + at,
          static_cast<const A*>(args.mean) + ng,
          static_cast<const A*>(args.rstd) + ng,
          M,
          G};
      const T* out = static_cast<const T*>(args.grad_input);
      WithAccess<T>(M, out, M, plan.non_temporal, [&](const auto& access) {
        for (int64_t first = 0; first < groups; first += kFlatGroupsAtOnce) {
          const int64_t last = std::min(first + kFlatGroupsAtOnce, groups);
          Slopes<A> slopes[kFlatGroupsAtOnce][decltype(samples)::value];
          for (int64_t i = first; i < last; ++i) {
            SumFlat<T, samples>(access, group_of(i), data, i, slopes[i - first]);
          }
          if (args.grad_input == nullptr) continue;
          for (int64_t i = first; i < last; ++i) {
            ApplyFlat<T, samples>(access, group_of(i), data, i, slopes[i - first]);
          }
        }
      });
    };
    int64_t n = first_n;
    for (; n + kFlatSamplesAtOnce <= last_n; n += kFlatSamplesAtOnce) {
      pass(n, std::integral_constant<int, kFlatSamplesAtOnce>());
    }
    for (; n < last_n; ++n) pass(n, std::integral_constant<int, 1>());
    for (int64_t i = 0; i < groups; ++i) {
      FinishFlat<T>(group_of(i), M, S, by_element, block * C + (first_g + i) * D, args);
    }
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
