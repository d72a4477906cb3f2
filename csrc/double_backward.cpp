#include "csrc/double_backward.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>

namespace group_norm_grad {
namespace {

// Everything is computed over (N, G, D, S) views in the accumulation dtype.
struct Views {
  at::ScalarType acc;
  c10::SymInt N, G, D, S, M;

  explicit Views(const BackwardCall& call)
      : acc(at::toOpMathType(call.input.scalar_type())),
        N(call.N),
        G(call.group),
        D(call.C / call.group),
        S(call.HxW),
        M(D * S) {}

  Tensor full(const Tensor& tensor) const {  // (N, C, ...)
    return tensor.to(acc).reshape_symint({N, G, D, S});
  }
  Tensor statistics(const Tensor& tensor) const {  // N*G values
    return tensor.to(acc).reshape_symint({N, G, 1, 1});
  }
  Tensor channels(const Tensor& tensor) const {  // C values
    return tensor.to(acc).reshape_symint({1, G, D, 1});
  }
  // Sums over S: (N, G, D, 1). A product and its sum are several times faster than the one-row
  // matrix products of at::bmm.
  Tensor sum(const Tensor& a) const { return a.sum(-1, /*keepdim=*/true); }
  Tensor dot(const Tensor& a, const Tensor& b) const { return sum(a * b); }
  // Mean over the group of a per-channel sum weighted by weight: (N, G, 1, 1).
  Tensor group_mean(const Tensor& per_channel) const {
    // A group without elements has no mean, but takes part in nothing either.
    return per_channel.sum(2, /*keepdim=*/true) / M.max(1);
  }
};

Tensor scaled(const Tensor& tensor, const Tensor& scale) {
  return scale.defined() ? tensor * scale : tensor;
}

Tensor plus(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a + b : a;
}

}  // namespace

CallGrads group_norm_backward_vjp(const BackwardCall& call, const GradGrads& upstream,
                                  std::array<bool, 5> wanted) {
  // With u, v, w the gradients of grad_input, grad_weight, grad_bias, x^ = (x - mean) * rstd and
  // g = weight, the scalar L = <u, grad_input> + <v, grad_weight> + <w, grad_bias> has
  //   dL/dgrad_out = g r (u - mean(u)) + k x^ + w                    q = mean(u x^)
  //   dL/dweight   = sum over n of r (sum u dy - mean(u) sum dy - q sum dy x^)
  //   e = dL/dx^   = -r b u + k dy                                   b = mean(g dy x^)
  //   dL/dinput    = r e,  dL/dmean = -r sum e
  //   dL/drstd     = sum u (g dy - a - x^ b) + sum e x^ / r          a = mean(g dy)
  // with k = v - g r q, where all but the first and the fourth need only the per-channel sums of u,
  // dy and their products. Factors per channel or group are multiplied first: each product with a
  // full tensor is a pass over memory.
  const Views view(call);
  const auto [u_given, v_given, w_given] =
      std::tie(upstream.grad_input, upstream.grad_weight, upstream.grad_bias);
  const Tensor r = view.statistics(call.rstd);
  const Tensor dy = view.full(call.grad_out);
  const Tensor centred = view.full(call.input) - view.statistics(call.mean);
  const Tensor g = call.weight.defined() ? view.channels(call.weight) : Tensor();
  const Tensor v = v_given.defined() ? view.channels(v_given) : Tensor();
  const Tensor w = w_given.defined() ? view.channels(w_given) : Tensor();
  const bool wants_statistics = wanted[2] || wanted[3];

  Tensor u, sum_u, sum_u_xhat, mean_u, q, r_g, k = v;
  if (u_given.defined()) {
    u = view.full(u_given);
    sum_u = view.sum(u);
    sum_u_xhat = view.dot(u, centred) * r;
    mean_u = view.group_mean(sum_u);
    q = view.group_mean(sum_u_xhat);
    r_g = scaled(r, g);
    k = plus(v, -r_g * q);
  }
  Tensor sum_dy, sum_dy_xhat;
  if (wants_statistics || u.defined()) {
    sum_dy = view.sum(dy);
    sum_dy_xhat = view.dot(dy, centred) * r;
  }

  CallGrads out;
  if (wanted[0]) {
    Tensor offset = w;
    if (u.defined()) {
      out.grad_out = u * r_g;
      offset = plus(offset, -r_g * mean_u);
    }
    if (k.defined()) {
      out.grad_out =
          out.grad_out.defined() ? at::addcmul(out.grad_out, centred, r * k) : centred * (r * k);
    }
    if (offset.defined()) out.grad_out = plus(out.grad_out, offset);
    if (out.grad_out.defined()) {
      out.grad_out = out.grad_out.expand_symint({view.N, view.G, view.D, view.S})
                         .reshape_symint(call.input.sym_sizes())
                         .to(call.grad_out.scalar_type());
    }
  }
  if (!u.defined() && !v.defined()) return out;  // grad_bias depends on grad_out alone

  Tensor a, b, e_u;  // e = e_u u + k dy
  if (u.defined()) {
    a = view.group_mean(scaled(sum_dy, g));
    b = view.group_mean(scaled(sum_dy_xhat, g));
    e_u = -r * b;
  }
  if (wanted[1]) {
    out.input = dy * (r * k);
    if (u.defined()) out.input = at::addcmul(out.input, u, r * e_u);
    out.input = out.input.reshape_symint(call.input.sym_sizes()).to(call.input.scalar_type());
  }
  if (wanted[2]) {
    Tensor sum_e = k * sum_dy;
    if (u.defined()) sum_e = sum_e + e_u * sum_u;
    out.mean =
        (-r * sum_e.sum(2, true)).reshape_symint(call.mean.sym_sizes()).to(call.mean.scalar_type());
  }
  Tensor sum_u_dy;
  if (u.defined() && (wanted[3] || (wanted[4] && g.defined()))) sum_u_dy = view.dot(u, dy);
  if (wanted[3]) {
    Tensor sum_e_xhat = k * sum_dy_xhat;
    if (u.defined()) sum_e_xhat = sum_e_xhat + e_u * sum_u_xhat;
    Tensor total = sum_e_xhat / r;
    if (u.defined()) total = total + scaled(sum_u_dy, g) - a * sum_u - b * sum_u_xhat;
    out.rstd = total.sum(2, true).reshape_symint(call.rstd.sym_sizes()).to(call.rstd.scalar_type());
  }
  if (wanted[4] && g.defined() && u.defined()) {
    out.weight = (r * (sum_u_dy - mean_u * sum_dy - q * sum_dy_xhat))
                     .sum(0)
                     .reshape_symint(call.weight.sym_sizes())
                     .to(call.weight.scalar_type());
  }
  return out;
}

Tensors3 group_norm_backward_composite(const BackwardCall& call, OutputMask output_mask) {
  const Views view(call);
  const Tensor r = view.statistics(call.rstd);
  const Tensor dy = view.full(call.grad_out);
  const Tensor xhat = (view.full(call.input) - view.statistics(call.mean)) * r;
  const Tensor sum_dy = view.sum(dy);
  const Tensor sum_dy_xhat = view.dot(dy, xhat);
  const auto parameter_dtype =
      call.weight.defined() ? call.weight.scalar_type() : call.mean.scalar_type();
  Tensor grad_input, grad_weight, grad_bias;
  if (output_mask[0]) {
    const Tensor g = call.weight.defined() ? view.channels(call.weight) : Tensor();
    const Tensor a = view.group_mean(scaled(sum_dy, g));
    const Tensor b = view.group_mean(scaled(sum_dy_xhat, g));
    grad_input = (r * (scaled(dy, g) - a - xhat * b))
                     .reshape_symint(call.input.sym_sizes())
                     .to(call.input.scalar_type());
  }
  if (output_mask[1]) {
    grad_weight = sum_dy_xhat.sum(0).reshape_symint({call.C}).to(parameter_dtype);
  }
  if (output_mask[2]) grad_bias = sum_dy.sum(0).reshape_symint({call.C}).to(parameter_dtype);
  return {grad_input, grad_weight, grad_bias};
}

}  // namespace group_norm_grad
