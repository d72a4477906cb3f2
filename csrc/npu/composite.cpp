#include "csrc/npu/composite.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace group_norm_grad::npu {

// Products and sums only: double_backward.h has the same in matrix products, which these devices
// run in float16.
Tensors3 backward_composite(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                            const Tensor& rstd, const Tensor& weight, const Problem& problem) {
  const int64_t N = problem.N, C = problem.C, S = problem.S, G = problem.G, D = problem.D();
  const auto as = [](const Tensor& tensor, at::IntArrayRef sizes) {
    return tensor.contiguous().to(at::kFloat).reshape(sizes);
  };
  const Tensor dy = as(grad_out, {N, G, D, S});
  const Tensor r = as(rstd, {N, G, 1, 1});
  const Tensor xhat = (as(input, {N, G, D, S}) - as(mean, {N, G, 1, 1})) * r;
  const Tensor sum_dy = dy.sum(-1, true);
  const Tensor sum_dy_xhat = (dy * xhat).sum(-1, true);
  const auto type = (weight.defined() ? weight : mean).scalar_type();
  Tensor grad_input, grad_weight, grad_bias;
  if (problem.output_mask[kGradInput]) {
    const double scale = 1.0 / static_cast<double>(std::max<int64_t>(D * S, 1));
    const Tensor gamma = weight.defined() ? as(weight, {1, G, D, 1}) : Tensor();
    const auto scaled = [&gamma](const Tensor& tensor) {
      return gamma.defined() ? tensor * gamma : tensor;
    };
    const Tensor average = scaled(sum_dy).sum(2, true) * scale;
    const Tensor slope = scaled(sum_dy_xhat).sum(2, true) * scale;
    grad_input =
        (r * (scaled(dy) - average - xhat * slope)).to(input.scalar_type()).reshape(input.sizes());
  }
  if (problem.output_mask[kGradWeight]) grad_weight = sum_dy_xhat.sum(0).reshape({C}).to(type);
  if (problem.output_mask[kGradBias]) grad_bias = sum_dy.sum(0).reshape({C}).to(type);
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace group_norm_grad::npu
