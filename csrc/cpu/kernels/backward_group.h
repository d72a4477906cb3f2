// The part of the formula that belongs to one group: from its channel sums to the two slopes of
// grad_input, and its row of the partial weight gradients. No walk over the data here.
#pragma once

#include <algorithm>

#include "table.h"
#include "vec.h"

namespace group_norm_grad::cpu {
namespace {

// grad_input = rstd * weight * grad_out + centred * (input - mean) + constant
template <typename A>
struct Slopes {
  A centred, constant;
};

// Vectors of channels summed plainly before their sum is added exactly.
constexpr int64_t kGroupSteps = 16;

// centred, plain: sums over a channel of grad_out * (input - mean) and of grad_out, for the group's
// D channels.
template <typename A>
C10_ALWAYS_INLINE Slopes<A> GroupSlopes(const A* weight, const A* centred, const A* plain,
                                        int64_t D, int64_t S, A rstd) {
  constexpr int64_t kBlock = kGroupSteps * kHalf<A>;
  const A scale = A(1) / static_cast<A>(D * S);
  const auto slopes = [&](A sum_centred, A sum_plain) -> Slopes<A> {
    return {-(sum_centred * scale) * rstd * rstd * rstd, -(sum_plain * scale) * rstd};
  };
  ExactSum<A> of_centred, of_plain;
  for (int64_t first = 0; first < D; first += kBlock) {
    const int64_t end = std::min(first + kBlock, D);
    A sums[4] = {};
    const int64_t whole = first + (end - first) / kHalf<A> * kHalf<A>;
    if (whole > first) {
      Vec<A> lanes[4] = {Vec<A>(A(0)), Vec<A>(A(0)), Vec<A>(A(0)), Vec<A>(A(0))};
      for (int64_t d = first; d < whole; d += kHalf<A>) {
        const Vec<A> w = Vec<A>::loadu(weight + d);
        lanes[0] = at::vec::fmadd(w, Vec<A>::loadu(centred + d), lanes[0]);
        lanes[1] = at::vec::fmadd(w, Vec<A>::loadu(plain + d), lanes[1]);
      }
      SumEach(lanes, sums);
    }
    for (int64_t d = whole; d < end; ++d) {
      sums[0] += weight[d] * centred[d];
      sums[1] += weight[d] * plain[d];
    }
    if (D <= kBlock) return slopes(sums[0], sums[1]);
    of_centred.Add(sums[0]);
    of_plain.Add(sums[1]);
  }
  return slopes(of_centred.Value(), of_plain.Value());
}

// Writes the group's part of a row of the partial weight gradients.
template <typename A>
C10_ALWAYS_INLINE void WritePartials(const BackwardArgs& args, int64_t block, int64_t channel,
                                     const A* centred, const A* plain, int64_t D, A rstd) {
  A* weight = static_cast<A*>(args.partial_weight);
  A* bias = static_cast<A*>(args.partial_bias);
  const int64_t at = block * args.C + channel;
  if (weight != nullptr) {
    for (int64_t d = 0; d < D; ++d) weight[at + d] = centred[d] * rstd;
  }
  if (bias != nullptr) {
    for (int64_t d = 0; d < D; ++d) bias[at + d] = plain[d];
  }
}

// Whether the sums need input at all: grad_bias alone does not.
inline bool NeedsCentredSum(const BackwardArgs& args) {
  return args.grad_input != nullptr || args.partial_weight != nullptr;
}

}  // namespace
}  // namespace group_norm_grad::cpu
