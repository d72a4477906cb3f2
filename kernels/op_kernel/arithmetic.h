// The gradient's arithmetic on data in the unified buffer: casts, the centred input, sums a
// channel, coefficients a group, and grad_input. No data movement, no schedule.
#pragma once

#include "ring.h"
#include "row_sums.h"
#include "tiling.h"

namespace group_norm_grad {

template <class T>
constexpr bool kIsFloat = AscendC::IsSameType<T, float>::value;

// float32 views of data of type T: the data itself, or a copy in a work buffer.
template <class T>
__aicore__ inline LocalTensor<float> FloatView(const LocalTensor<T>& data,
                                               const LocalTensor<float>& work) {
  if constexpr (kIsFloat<T>) {
    return data;
  } else {
    return work;
  }
}

template <class T>
__aicore__ inline void ToFloat(const LocalTensor<float>& dst, const LocalTensor<T>& src,
                               int32_t count) {
  if constexpr (!kIsFloat<T>) AscendC::Cast(dst, src, AscendC::RoundMode::CAST_NONE, count);
}

template <class T>
__aicore__ inline void FromFloat(const LocalTensor<T>& dst, const LocalTensor<float>& src,
                                 int32_t count) {
  if constexpr (!kIsFloat<T>) AscendC::Cast(dst, src, AscendC::RoundMode::CAST_RINT, count);
}

// From -1/M times the sums a group, one block each, of weight * grad_out and of weight * grad_out *
// xhat, to
//   shift = rstd * sum   and   scale = rstd * product_sum, times rstd again when the input is not
//   multiplied by rstd,
// so that grad_input = weight * rstd * grad_out + scale * input' + shift. `sums` holds the blocks
// of one and then of the other.
__aicore__ inline void SumsToCoefficients(const LocalTensor<float>& sums, int32_t groups,
                                          const LocalTensor<float>& rstd, int32_t rstd_step,
                                          bool input_is_scaled) {
  const LocalTensor<float> products = sums[groups * kBlockLanes];
  BroadcastRows<MultiplyOp>(sums, sums, rstd, groups, kBlockLanes, rstd_step);
  BroadcastRows<MultiplyOp>(products, products, rstd, groups, kBlockLanes, rstd_step);
  Order();
  if (!input_is_scaled) {
    BroadcastRows<MultiplyOp>(products, products, rstd, groups, kBlockLanes, rstd_step);
    Order();
  }
}

// The two passes over a run of rows, on float32 views of the data. Held by each schedule with
// buffers of its own.
template <class T>
struct Passes {
  LocalTensor<float> work, work_grad_out, work_input;  // both and each; unused for float32
  LocalTensor<float> scratch;
  int32_t scratch_elems;

  __aicore__ inline void Init(UbArena& arena, const GroupNormGradTiling& tiling) {
    if constexpr (!kIsFloat<T>) {
      // The second in the other half of the bank groups.
      const int32_t apart = RoundUpTo<2 * kLanes>(tiling.work_elems - kLanes) + kLanes;
      work = arena.Take<float>(apart + tiling.work_elems, BankHalf::kFirst);
      work_grad_out = work;
      work_input = work[apart];
    }
    scratch_elems = tiling.scratch_elems;
    scratch = arena.Take<float>(scratch_elems, BankHalf::kSecond);
  }

  __aicore__ inline LocalTensor<float> GradOut(const LocalTensor<T>& data) const {
    return FloatView(data, work_grad_out);
  }
  __aicore__ inline LocalTensor<float> Input(const LocalTensor<T>& data) const {
    return FloatView(data, work_input);
  }

  // input -= mean, for groups of group_elems with one block of `mean` each.
  __aicore__ inline void Centre(const LocalTensor<T>& data, const LocalTensor<float>& mean,
                                int32_t groups, int32_t group_elems, int32_t step) const {
    const LocalTensor<float> input = Input(data);
    ToFloat(input, data, groups * group_elems);
    Order();
    BroadcastRows<SubtractOp>(input, input, mean, groups, group_elems, step);
    Order();
  }

  // Sums a row of grad_out and, `apart` lanes further, of grad_out * input, or those of them that
  // are wanted. `last`: nobody reads the float32 copies of 16-bit data after this.
  __aicore__ inline void SumRowsOf(const LocalTensor<float>& sums, int32_t apart,
                                   const LocalTensor<float>& grad_out,
                                   const LocalTensor<float>& input, int32_t rows, int32_t pitch,
                                   bool want_sums, bool want_products, bool last,
                                   bool aligned) const {
    const int32_t blocks = pitch / kBlockLanes;
    if (want_sums && want_products && !(aligned && blocks <= kNarrowBlocks) && HasTree(blocks) &&
        SumRowsAndProducts(sums, apart, grad_out, input, rows, pitch, last && !kIsFloat<T>, scratch,
                           scratch_elems, aligned)) {
      return;
    }
    if (want_sums) {
      SumRows<false>(sums, grad_out, grad_out, rows, pitch, scratch, scratch_elems, aligned);
    }
    if (want_products) {
      SumRows<true>(sums[apart], grad_out, input, rows, pitch, scratch, scratch_elems, aligned);
    }
  }
};

}  // namespace group_norm_grad
