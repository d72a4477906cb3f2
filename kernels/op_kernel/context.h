// What every schedule shares on one core: the tiling, the global tensors, statistics and weight in
// the unified buffer, and the way sums a channel leave it. No schedule.
#pragma once

#include "arithmetic.h"
#include "core_flags.h"
#include "ring.h"
#include "tiling.h"

namespace group_norm_grad {

struct Arguments {
  GM_ADDR grad_out;
  GM_ADDR input;
  GM_ADDR mean;
  GM_ADDR rstd;
  GM_ADDR weight;
  GM_ADDR grad_input;
  GM_ADDR grad_weight;
  GM_ADDR grad_bias;
  GM_ADDR workspace;
};

template <class T>
__aicore__ inline GlobalTensor<T> MakeGlobal(GM_ADDR address, int64_t elems) {
  GlobalTensor<T> tensor;
  tensor.SetGlobalBuffer(reinterpret_cast<__gm__ T*>(address), static_cast<uint64_t>(elems));
  return tensor;
}

// The first and the number of `core`'s items when the first `larger` cores take one more than
// `base`.
struct Share {
  int64_t first;
  int64_t count;
};

__aicore__ inline Share ShareOf(int64_t core, int64_t base, int64_t larger) {
  return {core * base + (core < larger ? core : larger), base + (core < larger ? 1 : 0)};
}

// Loads values of type T or float32, whichever the problem has, as float32; stores float32
// likewise.
template <class T>
class EitherType {
 public:
  // `staging` holds as many elements of T as the largest load or store.
  __aicore__ inline void Init(GM_ADDR address, int64_t elems, bool is_float) {
    is_float_ = is_float;
    if (is_float) {
      wide_ = MakeGlobal<float>(address, elems);
    } else {
      narrow_ = MakeGlobal<T>(address, elems);
    }
  }

  __aicore__ inline void Load(const LocalTensor<float>& dst, const LocalTensor<T>& staging,
                              int64_t offset, const RowShape& shape) const {
    if (is_float_) {
      LoadRows<float>(dst, wide_, offset, shape);
    } else {
      LoadRows<T>(staging, narrow_, offset, shape);
    }
  }

  // After the load has arrived.
  __aicore__ inline void Widen(const LocalTensor<float>& dst, const LocalTensor<T>& staging,
                               int32_t count) const {
    if (!is_float_) ToFloat(dst, staging, count);
  }

  // Before the store; src stays as it is.
  __aicore__ inline void Narrow(const LocalTensor<T>& staging, const LocalTensor<float>& src,
                                int32_t count) const {
    if (!is_float_) FromFloat(staging, src, count);
  }

  __aicore__ inline void Store(int64_t offset, const LocalTensor<float>& src,
                               const LocalTensor<T>& staging, const RowShape& shape) const {
    if (is_float_) {
      StoreRows<float>(wide_, offset, src, shape);
    } else {
      StoreRows<T>(narrow_, offset, staging, shape);
    }
  }

 private:
  GlobalTensor<T> narrow_;
  GlobalTensor<float> wide_;
  bool is_float_ = true;
};

template <class T>
struct Context {
  const GroupNormGradTiling& tiling;
  AscendC::TPipe* pipe;
  UbArena arena;
  Courier courier;
  CoreFlags flags;
  GlobalTensor<T> grad_out, input, grad_input;
  EitherType<T> mean, rstd, weight, grad_weight, grad_bias;
  GlobalTensor<float> workspace;
  int64_t core;

  __aicore__ inline Context(const Arguments& args, const GroupNormGradTiling& tiling_in,
                            AscendC::TPipe* pipe_in)
      : tiling(tiling_in), pipe(pipe_in), arena(pipe_in, tiling_in.ub_bytes), courier(pipe_in) {
    const int64_t data = tiling.N * tiling.C * tiling.S;
    const int64_t stats = tiling.N * tiling.G;
    grad_out = MakeGlobal<T>(args.grad_out, data);
    input = MakeGlobal<T>(args.input, data);
    grad_input = MakeGlobal<T>(args.grad_input, data);
    mean.Init(args.mean, stats, tiling.stat_is_float);
    rstd.Init(args.rstd, stats, tiling.stat_is_float);
    weight.Init(args.weight, tiling.C, tiling.weight_is_float);
    grad_weight.Init(args.grad_weight, tiling.C, tiling.weight_is_float);
    grad_bias.Init(args.grad_bias, tiling.C, tiling.weight_is_float);
    workspace = MakeGlobal<float>(args.workspace, tiling.workspace_elems);
    core = AscendC::GetBlockIdx();
  }

  __aicore__ inline bool WantSums() const { return tiling.want_weight || tiling.want_bias; }
  // Whether cores leave sums a channel that are added up behind the first stage.
  __aicore__ inline bool HasSecondStage() const { return WantSums() && !tiling.sums_are_final; }
  // Which parts of the first pass have a reader.
  __aicore__ inline bool NeedGradOutSums() const { return tiling.want_input || tiling.want_bias; }
  __aicore__ inline bool NeedProductSums() const { return tiling.want_input || tiling.want_weight; }

  // Stores sums a channel, and `apart` values further those of grad_out * xhat: to grad_bias and
  // grad_weight when they are whole, else at `offset` of the workspace's partial sums. The stores
  // read both buffers until courier.Reclaim().
  __aicore__ inline void StoreSums(int64_t offset, const LocalTensor<float>& sums,
                                   const LocalTensor<T>& staging, int32_t apart,
                                   const RowShape& shape) {
    StoreSums(offset, sums, staging, apart, shape, tiling.sums_are_final);
  }
  __aicore__ inline void StoreSums(int64_t offset, const LocalTensor<float>& sums,
                                   const LocalTensor<T>& staging, int32_t apart,
                                   const RowShape& shape, bool whole) {
    const int32_t count = shape.rows * shape.pitch;
    const LocalTensor<float> products = sums[apart];
    const int64_t at = tiling.partial_offset + offset;
    if (whole) {
      const LocalTensor<T> product_staging =
          tiling.weight_is_float ? staging : staging[RoundUpTo<kBlockOf<T>>(apart)];
      if (tiling.want_bias) grad_bias.Narrow(staging, sums, count);
      if (tiling.want_weight) grad_weight.Narrow(product_staging, products, count);
      courier.BeforeStore();
      if (tiling.want_bias) grad_bias.Store(offset, sums, staging, shape);
      if (tiling.want_weight) grad_weight.Store(offset, products, product_staging, shape);
    } else {
      courier.BeforeStore();
      if (tiling.want_bias && tiling.want_weight &&
          (shape.rows == 1 || shape.cols == shape.pitch)) {
        const int32_t dense = shape.rows * shape.cols;
        StoreRows<float>(workspace, at, sums, {2, dense, apart, tiling.partial_elems});
      } else {
        if (tiling.want_bias) StoreRows<float>(workspace, at, sums, shape);
        if (tiling.want_weight)
          StoreRows<float>(workspace, at + tiling.partial_elems, products, shape);
      }
    }
    courier.AfterStore();
  }
};

}  // namespace group_norm_grad
