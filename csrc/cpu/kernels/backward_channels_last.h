// Backward over channels-last data: a sample is S rows of C channels, and the vectors run over the
// channels.
#pragma once

#include <algorithm>

#include "backward_group.h"

namespace group_norm_grad::cpu {
namespace {

// Per-channel arrays of a block, in a thread's scratch. Their lengths are whole steps, so that they
// need no tail.
template <typename A>
struct ChannelArrays {
  A *mean, *centred, *plain, *centred_error, *plain_error, *chunk_centred, *chunk_plain;
  A *scale, *slope, *constant;

  // scratch has kChannelsLastScratchArrays * padded elements.
  ChannelArrays(void* scratch, int64_t padded) {
    A* next = static_cast<A*>(scratch);
    for (A** array : {&mean, &centred, &plain, &centred_error, &plain_error, &chunk_centred,
                      &chunk_plain, &scale, &slope, &constant}) {
      *array = next;
      next += padded;
    }
  }
};

// Rows taken together, so that the per-channel arrays are loaded and stored once for all of them.
constexpr int kRowsAtOnce = 4;

// A step over channels [at, at + kPair) of a row; the last step of a row may start early and keep
// only its last lanes, and a block narrower than a step is loaded in part.
template <typename T>
struct ChannelSteps {
  using A = AccOf<T>;
  static constexpr int64_t kStep = kPair<A>;

  // Calls full(at) for the whole steps, then last(at, keep) or part(count) for what remains of
  // width.
  template <typename Full, typename Last, typename Part>
  static void ForEach(int64_t width, const Full& full, const Last& last, const Part& part) {
    int64_t at = 0;
    for (; at + kStep <= width; at += kStep) full(at);
    if (at == width) return;
    if (width >= kStep) {
      last(width - kStep, LanesFrom<A>(kStep - (width - at)));
    } else {
      part(width);
    }
  }
};

// centred, plain += the sums over kRows rows of a block of channels.
template <typename T, bool kCentred, int kRows>
void SumRows(const T* grad_out, const T* input, int64_t stride, int64_t width, const AccOf<T>* mean,
             AccOf<T>* centred, AccOf<T>* plain) {
  using A = AccOf<T>;
  const auto add = [&](int64_t at, const auto& load, const auto& mask) {
    Pair<A> of_plain = Load(plain + at), of_centred;
    Pair<A> mean_pair;
    if constexpr (kCentred) {
      of_centred = Load(centred + at);
      mean_pair = Load(mean + at);
    }
    for (int r = 0; r < kRows; ++r) {
      const Pair<A> dy = mask(load(grad_out + r * stride + at));
      of_plain = of_plain + dy;
      if constexpr (kCentred) {
        of_centred = MulAdd(dy, mask(load(input + r * stride + at) - mean_pair), of_centred);
      }
    }
    Store(plain + at, of_plain);
    if constexpr (kCentred) Store(centred + at, of_centred);
  };
  const auto load_all = [](const T* p) { return Load(p); };
  const auto keep_all = [](const Pair<A>& v) { return v; };
  ChannelSteps<T>::ForEach(
      width, [&](int64_t at) { add(at, load_all, keep_all); },
      [&](int64_t at, const Pair<A>& keep) {
        add(at, load_all, [&](const Pair<A>& v) { return v & keep; });
      },
      [&](int64_t count) {
        add(
            0, [&](const T* p) { return LoadFirst(p, count); }, keep_all);
      });
}

template <typename T, int kRows>
void ApplyRows(const T* grad_out, const T* input, T* grad_input, int64_t stride, int64_t width,
               const ChannelArrays<AccOf<T>>& arrays) {
  using A = AccOf<T>;
  const auto apply = [&](int64_t at, const auto& load, const auto& store) {
    const Pair<A> mean = Load(arrays.mean + at), scale = Load(arrays.scale + at);
    const Pair<A> slope = Load(arrays.slope + at), constant = Load(arrays.constant + at);
    for (int r = 0; r < kRows; ++r) {
      const int64_t i = r * stride + at;
      const Pair<A> centred = load(input + i) - mean;
      store(grad_input + i, MulAdd(scale, load(grad_out + i), MulAdd(slope, centred, constant)));
    }
  };
  const auto load_all = [](const T* p) { return Load(p); };
  const auto store_all = [](T* p, const Pair<A>& v) { Store(p, v); };
  ChannelSteps<T>::ForEach(
      width, [&](int64_t at) { apply(at, load_all, store_all); },
      [&](int64_t at, const Pair<A>&) { apply(at, load_all, store_all); },
      [&](int64_t count) {
        apply(
            0, [&](const T* p) { return LoadFirst(p, count); },
            [&](T* p, const Pair<A>& v) { StoreFirst(p, v, count); });
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

  int64_t Padded() const { return RoundUp(width, kPair<A>); }
  int64_t ChunkBegin(int64_t chunk) const { return chunk * kChannelsLastChunkRows; }
  int64_t ChunkEnd(int64_t chunk) const {
    return std::min(ChunkBegin(chunk) + kChannelsLastChunkRows, S);
  }

  void SpreadMean(A* out) const {
    std::fill(out + width, out + Padded(), A(0));
    for (int64_t g = 0; g < groups; ++g) std::fill_n(out + g * D, D, mean[g]);
  }

  template <bool kCentred>
  void SumChunk(int64_t chunk, const A* mean_of, A* centred, A* plain) const {
    std::fill_n(centred, Padded(), A(0));
    std::fill_n(plain, Padded(), A(0));
    int64_t s = ChunkBegin(chunk);
    const int64_t end = ChunkEnd(chunk);
    for (; s + kRowsAtOnce <= end; s += kRowsAtOnce) {
      SumRows<T, kCentred, kRowsAtOnce>(grad_out + s * C, input + s * C, C, width, mean_of, centred,
                                        plain);
    }
    for (; s < end; ++s) {
      SumRows<T, kCentred, 1>(grad_out + s * C, input + s * C, C, width, mean_of, centred, plain);
    }
  }

  void SumChunk(int64_t chunk, const A* mean_of, A* centred, A* plain, bool needs_centred) const {
    needs_centred ? SumChunk<true>(chunk, mean_of, centred, plain)
                  : SumChunk<false>(chunk, mean_of, centred, plain);
  }

  // Adds up the chunks, chunk_sums(chunk) having put theirs into arrays.chunk_*, in the one order
  // that every schedule keeps; then slope_of(g) receives each group's slopes.
  template <typename ChunkSums, typename SlopeOf>
  void Finish(const ChannelArrays<A>& arrays, const ChunkSums& chunk_sums,
              const SlopeOf& slope_of) const {
    const int64_t padded = Padded();
    for (A* array : {arrays.centred, arrays.plain, arrays.centred_error, arrays.plain_error}) {
      std::fill_n(array, padded, A(0));
    }
    for (int64_t k = 0; k < args.plan.chunks; ++k) {
      chunk_sums(k);
      AddExactly(arrays.centred, arrays.centred_error, arrays.chunk_centred, padded);
      AddExactly(arrays.plain, arrays.plain_error, arrays.chunk_plain, padded);
    }
    SettleExactly(arrays.centred, arrays.centred_error, width);
    SettleExactly(arrays.plain, arrays.plain_error, width);
    for (int64_t g = 0; g < groups; ++g) {
      const A* centred = arrays.centred + g * D;
      const A* plain = arrays.plain + g * D;
      AddToPartials(args, n, channel + g * D, centred, plain, D, rstd[g], true);
      if (grad_input != nullptr) {
        slope_of(g, GroupSlopes(weight + g * D, centred, plain, D, S, rstd[g]));
      }
    }
  }

  // Fills what ApplyRows reads, for group g of the block; arrays.mean apart.
  void SpreadSlopes(const ChannelArrays<A>& arrays, int64_t g, Slopes<A> slopes) const {
    for (int64_t c = g * D; c < (g + 1) * D; ++c) {
      arrays.scale[c] = rstd[g] * weight[c];
      arrays.slope[c] = slopes.centred;
      arrays.constant[c] = slopes.constant;
    }
  }

  void Apply(int64_t chunk, const ChannelArrays<A>& arrays) const {
    int64_t s = ChunkBegin(chunk);
    const int64_t end = ChunkEnd(chunk);
    for (; s + kRowsAtOnce <= end; s += kRowsAtOnce) {
      ApplyRows<T, kRowsAtOnce>(grad_out + s * C, input + s * C, grad_input + s * C, C, width,
                                arrays);
    }
    for (; s < end; ++s) {
      ApplyRows<T, 1>(grad_out + s * C, input + s * C, grad_input + s * C, C, width, arrays);
    }
  }
};

// One task is one block of groups of one sample.
template <typename T>
void FusedChannelsLast(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const Plan& plan = args.plan;
  const bool needs_centred = NeedsCentredSum(args);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / plan.group_blocks, first = task % plan.group_blocks * plan.groups;
    const ChannelBlock<T> block{args, n, first, std::min(plan.groups, args.G - first)};
    const ChannelArrays<A> arrays(scratch, block.Padded());
    block.SpreadMean(arrays.mean);
    block.Finish(
        arrays,
        [&](int64_t chunk) {
          block.SumChunk(chunk, arrays.mean, arrays.chunk_centred, arrays.chunk_plain,
                         needs_centred);
        },
        [&](int64_t g, Slopes<A> slopes) { block.SpreadSlopes(arrays, g, slopes); });
    if (block.grad_input == nullptr) continue;
    for (int64_t k = plan.chunks - 1; k >= 0; --k) block.Apply(k, arrays);
  }
}

// One task is one chunk of rows of one sample, all channels.
template <typename T>
void SplitChannelsLastSums(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  const bool needs_centred = NeedsCentredSum(args);
  for (int64_t task = begin; task < end; ++task) {
    const ChannelBlock<T> block{args, task / args.plan.chunks, 0, args.G};
    const ChannelArrays<A> arrays(scratch, block.Padded());
    block.SpreadMean(arrays.mean);
    const int64_t at = task * block.Padded();
    block.SumChunk(task % args.plan.chunks, arrays.mean, static_cast<A*>(args.chunk_centred) + at,
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
        [&](int64_t g, Slopes<A> slopes) {
          static_cast<Slopes<A>*>(args.slopes)[n * args.G + g] = slopes;
        });
  }
}

template <typename T>
void SplitChannelsLastApply(const BackwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  using A = AccOf<T>;
  for (int64_t task = end - 1; task >= begin; --task) {
    const int64_t n = task / args.plan.chunks;
    const ChannelBlock<T> block{args, n, 0, args.G};
    const ChannelArrays<A> arrays(scratch, block.Padded());
    block.SpreadMean(arrays.mean);
    for (int64_t g = 0; g < args.G; ++g) {
      block.SpreadSlopes(arrays, g, static_cast<const Slopes<A>*>(args.slopes)[n * args.G + g]);
    }
    block.Apply(task % args.plan.chunks, arrays);
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
