// Backward over channels-last data: a sample is S rows of C channels, and the vectors run over the
// channels.
#pragma once

#include <algorithm>

#include "backward_group.h"
#include "lanes.h"

namespace group_norm_grad::cpu {
namespace {

// Per-channel arrays of a block, in a thread's scratch, laid out as lanes; the last three by
// channel.
template <typename A>
struct ChannelArrays {
  A *mean, *scale, *slope, *constant;
  A *chunk_centred, *chunk_plain, *centred, *plain, *centred_error, *plain_error;
  A* by_channel[3];

  // scratch has kChannelsLastScratchArrays * padded elements.
  ChannelArrays(void* scratch, int64_t padded) {
    A* next = static_cast<A*>(scratch);
    for (A** array :
         {&mean, &scale, &slope, &constant, &chunk_centred, &chunk_plain, &centred, &plain,
          &centred_error, &plain_error, &by_channel[0], &by_channel[1], &by_channel[2]}) {
      *array = next;
      next += padded;
    }
  }
};

// centred, plain += the sums over kRows rows of a block of channels.
template <typename T, bool kCentred, int kRows, typename Access>
void SumRows(const Access& access, const T* grad_out, const T* input, int64_t stride, int64_t width,
             const AccOf<T>* mean, AccOf<T>* centred, AccOf<T>* plain) {
  using A = AccOf<T>;
  Steps<T>::ForEach(
      width, [&](int64_t slot, int64_t channel) __attribute__((always_inline)) {
        Pair<A> of_plain = Load(plain + slot), of_centred, mean_pair;
        if constexpr (kCentred) {
          of_centred = Load(centred + slot);
          mean_pair = Load(mean + slot);
        }
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = r * stride + channel;
          const Pair<A> dy = access.Get(grad_out + at);
          of_plain = of_plain + dy;
          if constexpr (kCentred)
            of_centred = MulAdd(dy, access.Get(input + at) - mean_pair, of_centred);
        }
        Store(plain + slot, of_plain);
        if constexpr (kCentred) Store(centred + slot, of_centred);
      });
}

// All rows are loaded before the first is stored: see kRowsAtOnce. kNext: what lies next elements
// on, the next block's rows, is prefetched.
template <typename T, int kRows, bool kNext, typename Access>
void ApplyRows(const Access& access, const T* grad_out, const T* input, T* grad_input,
               int64_t stride, int64_t width, int64_t next, const ChannelArrays<AccOf<T>>& arrays) {
  using A = AccOf<T>;
  Steps<T>::ForEach(
      width, [&](int64_t slot, int64_t channel) __attribute__((always_inline)) {
        const Pair<A> mean = Load(arrays.mean + slot), scale = Load(arrays.scale + slot);
        const Pair<A> slope = Load(arrays.slope + slot), constant = Load(arrays.constant + slot);
        Pair<A> result[kRows];
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = r * stride + channel;
          if constexpr (kNext) {
            Prefetch(input + at + next);
            Prefetch(grad_out + at + next);
          }
          const Pair<A> centred = access.Get(input + at) - mean;
          result[r] = MulAdd(scale, access.Get(grad_out + at), MulAdd(slope, centred, constant));
        }
        for (int r = 0; r < kRows; ++r) access.Put(grad_input + r * stride + channel, result[r]);
      });
}

// A block of whole groups of one sample.
template <typename T>
struct ChannelBlock {
  using A = AccOf<T>;
  const BackwardArgs& args;
  int64_t n, first_group, groups;

  const int64_t C = args.C, S = args.S, G = args.G, D = args.C / args.G;
  const int64_t channel = first_group * D, width = groups * D;
  const T* grad_out = static_cast<const T*>(args.grad_out) + n * S * C + channel;
  const T* input = static_cast<const T*>(args.input) + n * S * C + channel;
  T* grad_input =
      args.grad_input == nullptr ? nullptr : static_cast<T*>(args.grad_input) + n * S * C + channel;
  const A* mean = static_cast<const A*>(args.mean) + n * G + first_group;
  const A* rstd = static_cast<const A*>(args.rstd) + n * G + first_group;
  const A* weight = static_cast<const A*>(args.weight) + channel;

  int64_t Padded() const { return Steps<T>::Padded(width); }

  // lanes = value_of(g) in every channel of every group g.
  template <typename ValueOf>
  void Spread(A* lanes, A* by_channel, const ValueOf& value_of) const {
    A* out = Steps<T>::SameOrder(width) ? lanes : by_channel;
    WithGroupWidth(D, [&](auto width_of) {
      for (int64_t g = 0; g < groups; ++g) {
        const A value = value_of(g);
        for (int64_t d = 0; d < width_of; ++d) out[g * width_of + d] = value;
      }
    });
    ToLanes(out, lanes);
  }

  void ToLanes(A* by_channel, A* lanes) const {
    if (by_channel == lanes) return;
    std::fill(by_channel + width, by_channel + Padded(), A(0));
    Steps<T>::ToLanes(by_channel, lanes, width);
  }

  const A* ByChannel(const A* lanes, A* by_channel) const {
    if (Steps<T>::SameOrder(width)) return lanes;
    Steps<T>::ToElements(lanes, by_channel, width);
    return by_channel;
  }

  void SpreadMean(const ChannelArrays<A>& arrays) const {
    Spread(arrays.mean, arrays.by_channel[0], [&](int64_t g) { return mean[g]; });
  }

  // slopes_of(g): each group's.
  template <typename SlopesOf>
  void SpreadSlopes(const ChannelArrays<A>& arrays, const SlopesOf& slopes_of) const {
    Spread(arrays.slope, arrays.by_channel[0], [&](int64_t g) { return slopes_of(g).centred; });
    Spread(arrays.constant, arrays.by_channel[0], [&](int64_t g) { return slopes_of(g).constant; });
    A* scale = Steps<T>::SameOrder(width) ? arrays.scale : arrays.by_channel[0];
    WithGroupWidth(D, [&](auto width_of) {
      for (int64_t g = 0; g < groups; ++g) {
        const A rstd_of = rstd[g];
        for (int64_t d = 0; d < width_of; ++d) {
          scale[g * width_of + d] = rstd_of * weight[g * width_of + d];
        }
      }
    });
    ToLanes(scale, arrays.scale);
  }

  template <bool kCentred>
  void SumChunk(int64_t chunk, const A* mean_of, A* centred, A* plain) const {
    std::fill_n(centred, Padded(), A(0));
    std::fill_n(plain, Padded(), A(0));
    WithAccess<T>(width, nullptr, C, false, [&](const auto& access) {
      ForChunk(chunk, S, args.plan.stretch, [&](int64_t s, int64_t apart, auto rows) {
        SumRows<T, kCentred, rows>(access, grad_out + s * C, input + s * C, apart * C, width,
                                   mean_of, centred, plain);
      });
    });
  }

  void SumChunk(int64_t chunk, const A* mean_of, A* centred, A* plain, bool needs_centred) const {
    needs_centred ? SumChunk<true>(chunk, mean_of, centred, plain)
                  : SumChunk<false>(chunk, mean_of, centred, plain);
  }

  // Adds up the chunks, chunk_sums(chunk) having put theirs into arrays.chunk_*, in the one order
  // that every schedule keeps; writes the block's part of the partial weight gradients and, if
  // grad_input is wanted, slopes[g] of its groups.
  template <typename ChunkSums>
  void Finish(const ChannelArrays<A>& arrays, const ChunkSums& chunk_sums,
              Slopes<A>* slopes) const {
    const A *sum_centred = arrays.centred, *sum_plain = arrays.plain;
    if (args.plan.chunks == 1) {
      chunk_sums(0);
      sum_centred = arrays.chunk_centred;
      sum_plain = arrays.chunk_plain;
    } else {
      AddChunks<A>(args.plan.chunks, Padded(), {arrays.centred, arrays.plain},
                   {arrays.centred_error, arrays.plain_error}, arrays.chunk_centred,
                   arrays.chunk_plain, chunk_sums);
    }
    const A* all_centred = ByChannel(sum_centred, arrays.by_channel[0]);
    const A* all_plain = ByChannel(sum_plain, arrays.by_channel[1]);
    WithGroupWidth(D, [&](auto width_of) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * width_of;
        WritePartials<A>(args, n, channel + first, all_centred + first, all_plain + first, width_of,
                         rstd[g]);
        if (grad_input == nullptr) continue;
        slopes[g] = GroupSlopes<A>(weight + first, all_centred + first, all_plain + first, width_of,
                                   S, rstd[g]);
      }
    });
  }

  template <bool kNext>
  void Apply(int64_t chunk, const ChannelArrays<A>& arrays, int64_t next) const {
    WithAccess<T>(width, grad_input, C, args.plan.non_temporal, [&](const auto& access) {
      ForChunk(chunk, S, args.plan.stretch, [&](int64_t s, int64_t apart, auto rows) {
        ApplyRows<T, rows, kNext>(access, grad_out + s * C, input + s * C, grad_input + s * C,
                                  apart * C, width, next, arrays);
      });
    });
  }

  // next: elements from this block to the next one, which is prefetched on the way; 0: none is.
  void Apply(int64_t chunk, const ChannelArrays<A>& arrays, int64_t next) const {
    next != 0 ? Apply<true>(chunk, arrays, next) : Apply<false>(chunk, arrays, next);
  }
};

// One task is one block of groups of one sample.
template <typename T>
void FusedChannelsLast(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const Plan& plan = args.plan;
  const bool needs_centred = NeedsCentredSum(args);
  const auto block_of = [&](int64_t task) {
    const int64_t n = task / plan.group_blocks, first = task % plan.group_blocks * plan.groups;
    return ChannelBlock<T>{args, n, first, std::min(plan.groups, args.G - first)};
  };
  for (int64_t task = begin; task < end; ++task) {
    const ChannelBlock<T> block = block_of(task);
    const int64_t next =
        plan.prefetch && task + 1 < end ? block_of(task + 1).input - block.input : 0;
    const ChannelArrays<A> arrays(scratch, block.Padded());
    // Two values a group, and a block has no more groups than channels: the two errors, no longer
    // needed, have the room.
    auto* slopes = reinterpret_cast<Slopes<A>*>(arrays.centred_error);
    block.SpreadMean(arrays);
    block.Finish(
        arrays,
        [&](int64_t chunk) {
          block.SumChunk(chunk, arrays.mean, arrays.chunk_centred, arrays.chunk_plain,
                         needs_centred);
        },
        slopes);
    if (block.grad_input == nullptr) continue;
    block.SpreadSlopes(arrays, [&](int64_t g) { return slopes[g]; });
    for (int64_t k = 0; k < plan.chunks; ++k) {
      block.Apply(plan.in_cache ? k : plan.chunks - 1 - k, arrays, next);
    }
  }
}

// One task is one chunk of rows of one sample, all channels.
template <typename T>
void SplitChannelsLastSums(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const bool needs_centred = NeedsCentredSum(args);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const ChannelBlock<T> block{args, n, 0, args.G};
    const ChannelArrays<A> arrays(scratch, block.Padded());
    if (task == begin || chunk == 0) block.SpreadMean(arrays);
    const int64_t at = task * block.Padded();
    block.SumChunk(chunk, arrays.mean, static_cast<A*>(args.chunk_centred) + at,
                   static_cast<A*>(args.chunk_plain) + at, needs_centred);
  }
}

// One task is one sample.
template <typename T>
void SplitChannelsLastFinish(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  for (int64_t n = begin; n < end; ++n) {
    const ChannelBlock<T> block{args, n, 0, args.G};
    ChannelArrays<A> arrays(scratch, block.Padded());
    block.Finish(
        arrays,
        [&](int64_t chunk) {
          const int64_t at = (n * args.plan.chunks + chunk) * block.Padded();
          arrays.chunk_centred = static_cast<A*>(args.chunk_centred) + at;
          arrays.chunk_plain = static_cast<A*>(args.chunk_plain) + at;
        },
        static_cast<Slopes<A>*>(args.slopes) + n * args.G);
  }
}

template <typename T>
void SplitChannelsLastApply(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  for (int64_t task = end - 1; task >= begin; --task) {
    const int64_t n = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const ChannelBlock<T> block{args, n, 0, args.G};
    const ChannelArrays<A> arrays(scratch, block.Padded());
    if (task == end - 1 || chunk == args.plan.chunks - 1) {
      const auto* slopes = static_cast<const Slopes<A>*>(args.slopes) + n * args.G;
      block.SpreadMean(arrays);
      block.SpreadSlopes(arrays, [&](int64_t g) { return slopes[g]; });
    }
    block.Apply(chunk, arrays, 0);
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
