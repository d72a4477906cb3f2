// Forward over channels-last data: a sample is S rows of C channels, and the vectors run over the
// channels.
#pragma once

#include <algorithm>

#include "forward_group.h"
#include "lanes.h"

namespace group_norm_grad::cpu {
namespace {

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

// All rows are loaded before the first is stored: see kRowsAtOnce. kNext: what lies next elements
// on, the next block's rows, is prefetched.
template <typename T, int kRows, bool kNext, typename Access>
void NormaliseRows(const Access& access, const T* input, T* output, int64_t stride, int64_t width,
                   int64_t next, const AccOf<T>* mean, const AccOf<T>* scale,
                   const AccOf<T>* bias) {
  using A = AccOf<T>;
  Steps<T>::ForEach(
      width, [&](int64_t slot, int64_t channel) __attribute__((always_inline)) {
        const Pair<A> mean_pair = Load(mean + slot), scale_pair = Load(scale + slot);
        const Pair<A> bias_pair = Load(bias + slot);
        Pair<A> result[kRows];
        for (int r = 0; r < kRows; ++r) {
          const int64_t at = r * stride + channel;
          if constexpr (kNext) Prefetch(input + at + next);
          const Pair<A> centred = access.Get(input + at) - mean_pair;
          result[r] = MulAdd(centred, scale_pair, bias_pair);
        }
        for (int r = 0; r < kRows; ++r) access.Put(output + r * stride + channel, result[r]);
      });
}

// Rows of the start of a sample whose mean is every channel's shift.
constexpr int64_t kShiftRows = 4;

// Per-channel arrays of a block, in a thread's scratch, laid out as lanes; the last three by
// channel. mean, scale and bias take the room of the sums once these are no longer needed.
template <typename A>
struct ForwardArrays {
  A *shift, *plain, *squared, *chunk_plain, *chunk_squared, *plain_error, *squared_error;
  A* by_channel[3];
  A *&mean = shift, *&scale = plain, *&bias = squared;

  // scratch has kForwardChannelsLastScratchArrays * padded elements.
  ForwardArrays(void* scratch, int64_t padded) {
    A* next = static_cast<A*>(scratch);
    for (A** array : {&shift, &plain, &squared, &chunk_plain, &chunk_squared, &plain_error,
                      &squared_error, &by_channel[0], &by_channel[1], &by_channel[2]}) {
      *array = next;
      next += padded;
    }
  }
};

// A block of whole groups of one sample. Each channel is summed about a shift near its mean, in
// chunks of rows.
template <typename T>
struct ForwardBlock {
  using A = AccOf<T>;
  const ForwardArgs& args;
  int64_t n, first_group, groups;

  const int64_t C = args.C, S = args.S, G = args.G, D = C / G;
  const int64_t channel = first_group * D, width = groups * D;
  const T* input = static_cast<const T*>(args.input) + n * S * C + channel;
  T* output = static_cast<T*>(args.output) + n * S * C + channel;

  int64_t Padded() const { return Steps<T>::Padded(width); }

  // plain, squared = the shifted sums over the rows that for_rows walks.
  template <typename ForRowsOf>
  void SumRows(const ForRowsOf& for_rows, const A* shift, A* plain, A* squared) const {
    std::fill_n(plain, Padded(), A(0));
    std::fill_n(squared, Padded(), A(0));
    WithAccess<T>(width, nullptr, C, false, [&](const auto& access) {
      for_rows([&](int64_t s, int64_t apart, auto rows) {
        SumShiftedRows<T, rows>(access, input + s * C, apart * C, width, shift, plain, squared);
      });
    });
  }

  void FindShift(const ForwardArrays<A>& arrays) const {
    std::fill_n(arrays.shift, Padded(), A(0));
    const int64_t rows = std::min(kShiftRows, S);
    SumRows([&](const auto& f) { ForRows(0, rows, f); }, arrays.shift, arrays.chunk_plain,
            arrays.chunk_squared);
    for (int64_t i = 0; i < Padded(); ++i) {
      const A near = arrays.chunk_plain[i] / static_cast<A>(rows);
      arrays.shift[i] = near - near == A(0) ? near : A(0);
    }
  }

  void SumChunk(int64_t chunk, const A* shift, A* plain, A* squared) const {
    SumRows([&](const auto& f) { ForChunk(chunk, S, args.plan.stretch, f); }, shift, plain,
            squared);
  }

  // Adds up the chunks, chunk_sums(chunk) having put theirs into arrays.chunk_*, in the one order
  // that every schedule keeps; writes the groups' statistics.
  template <typename ChunkSums>
  void Finish(const ForwardArrays<A>& arrays, const ChunkSums& chunk_sums) const {
    const A *plain = arrays.plain, *squared = arrays.squared;
    if (args.plan.chunks == 1) {
      chunk_sums(0);
      plain = arrays.chunk_plain;
      squared = arrays.chunk_squared;
    } else {
      AddChunks<A>(args.plan.chunks, Padded(), {arrays.plain, arrays.squared},
                   {arrays.plain_error, arrays.squared_error}, arrays.chunk_plain,
                   arrays.chunk_squared, chunk_sums);
    }
    // Every channel's moments, by channel, then those of its group.
    const auto& [shift_of, plain_of, squared_of] = arrays.by_channel;
    Steps<T>::ToElements(arrays.shift, shift_of, width);
    Steps<T>::ToElements(plain, plain_of, width);
    Steps<T>::ToElements(squared, squared_of, width);
    const double per_row = 1.0 / static_cast<double>(S);
    WithGroupWidth(D, [&](auto width_of) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * width_of;
        const A *shift = shift_of + first, *sum = plain_of + first, *square = squared_of + first;
        const double mean =
            SumInLanes(width_of, [&](int64_t d) { return shift[d] + sum[d] * per_row; }) / width_of;
        const double squares = SumInLanes(width_of, [&](int64_t d) {
          const double off = sum[d] * per_row, delta = shift[d] + off - mean;
          return square[d] - off * sum[d] + S * delta * delta;
        });
        WriteStatistics<A>(args, n * G + first_group + g,
                           {static_cast<double>(S * width_of), mean, squares});
      }
    });
  }

  // What Normalise takes of every channel, once the groups have their statistics.
  void SpreadValues(const ForwardArrays<A>& arrays) const {
    const auto& [mean, scale, bias] = arrays.by_channel;
    const A* weight = static_cast<const A*>(args.weight) + channel;
    const A* means = static_cast<const A*>(args.mean) + n * G + first_group;
    const A* rstds = static_cast<const A*>(args.rstd) + n * G + first_group;
    WithGroupWidth(D, [&](auto width_of) {
      for (int64_t g = 0; g < groups; ++g) {
        const A mean_of = means[g], rstd_of = rstds[g];
        for (int64_t c = g * width_of; c < (g + 1) * width_of; ++c) {
          mean[c] = mean_of;
          scale[c] = rstd_of * weight[c];
        }
      }
    });
    std::copy_n(static_cast<const A*>(args.bias) + channel, width, bias);
    Steps<T>::ToLanes(mean, arrays.mean, width);
    Steps<T>::ToLanes(scale, arrays.scale, width);
    Steps<T>::ToLanes(bias, arrays.bias, width);
  }

  template <bool kNext>
  void Normalise(int64_t chunk, const ForwardArrays<A>& arrays, int64_t next) const {
    WithAccess<T>(width, output, C, args.plan.non_temporal, [&](const auto& access) {
      ForChunk(chunk, S, args.plan.stretch, [&](int64_t s, int64_t apart, auto rows) {
        NormaliseRows<T, rows, kNext>(access, input + s * C, output + s * C, apart * C, width, next,
                                      arrays.mean, arrays.scale, arrays.bias);
      });
    });
  }

  // next: elements from this block to the next one, which is prefetched on the way; 0: none is.
  void Normalise(int64_t chunk, const ForwardArrays<A>& arrays, int64_t next) const {
    next != 0 ? Normalise<true>(chunk, arrays, next) : Normalise<false>(chunk, arrays, next);
  }
};

// One task is a block of groups of one sample.
template <typename T>
void ForwardChannelsLast(const ForwardArgs& args, int64_t begin, int64_t end, void* scratch) {
  const Plan& plan = args.plan;
  const auto block_of = [&](int64_t task) {
    const int64_t n = task / plan.group_blocks, first = task % plan.group_blocks * plan.groups;
    return ForwardBlock<T>{args, n, first, std::min(plan.groups, args.G - first)};
  };
  for (int64_t task = begin; task < end; ++task) {
    const ForwardBlock<T> block = block_of(task);
    const int64_t next =
        plan.prefetch && task + 1 < end ? block_of(task + 1).input - block.input : 0;
    const ForwardArrays<AccOf<T>> arrays(scratch, block.Padded());
    block.FindShift(arrays);
    block.Finish(arrays, [&](int64_t chunk) {
      block.SumChunk(chunk, arrays.shift, arrays.chunk_plain, arrays.chunk_squared);
    });
    block.SpreadValues(arrays);
    for (int64_t k = 0; k < plan.chunks; ++k) {
      block.Normalise(plan.in_cache ? k : plan.chunks - 1 - k, arrays, next);
    }
  }
}

// One task is one chunk of rows of one sample, all channels.
template <typename T>
void SplitForwardChannelsLastSums(const ForwardArgs& args, int64_t begin, int64_t end,
                                  void* scratch) {
  using A = AccOf<T>;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const ForwardBlock<T> block{args, n, 0, args.G};
    const ForwardArrays<A> arrays(scratch, block.Padded());
    if (task == begin || chunk == 0) block.FindShift(arrays);
    A* sums = static_cast<A*>(args.chunk_sums) + 2 * task * block.Padded();
    block.SumChunk(chunk, arrays.shift, sums, sums + block.Padded());
  }
}

// One task is one sample.
template <typename T>
void SplitForwardChannelsLastFinish(const ForwardArgs& args, int64_t begin, int64_t end,
                                    void* scratch) {
  using A = AccOf<T>;
  for (int64_t n = begin; n < end; ++n) {
    const ForwardBlock<T> block{args, n, 0, args.G};
    ForwardArrays<A> arrays(scratch, block.Padded());
    block.FindShift(arrays);
    block.Finish(arrays, [&](int64_t chunk) {
      const int64_t at = 2 * (n * args.plan.chunks + chunk) * block.Padded();
      arrays.chunk_plain = static_cast<A*>(args.chunk_sums) + at;
      arrays.chunk_squared = arrays.chunk_plain + block.Padded();
    });
  }
}

// Tasks as in SplitForwardChannelsLastSums, in the opposite order: the first ones run find in cache
// what the sums read last.
template <typename T>
void SplitForwardChannelsLastApply(const ForwardArgs& args, int64_t begin, int64_t end,
                                   void* scratch) {
  for (int64_t task = end - 1; task >= begin; --task) {
    const int64_t n = task / args.plan.chunks, chunk = task % args.plan.chunks;
    const ForwardBlock<T> block{args, n, 0, args.G};
    const ForwardArrays<AccOf<T>> arrays(scratch, block.Padded());
    if (task == end - 1 || chunk == args.plan.chunks - 1) block.SpreadValues(arrays);
    block.Normalise(chunk, arrays, 0);
  }
}

}  // namespace
}  // namespace group_norm_grad::cpu
