// Autograd of our operators: graph nodes for reverse mode, tangents for forward mode. No arithmetic
// on data of its own beyond small corrections; kernels are reached through the dispatcher.
//
// Why C++ nodes and not torch::autograd::Function or a Python Function: the former is refused under
// functorch transforms, the latter costs 7 to 29 us a call; a node whose backward calls dispatcher
// operators is what PyTorch generates for its own, costs the same, and every transform sees through
// it.
#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/library.h>

#include "csrc/checks.h"
#include "csrc/double_backward.h"
#include "csrc/graph_node.h"
#include "csrc/ops.h"

namespace group_norm_grad {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::set_history;

Tensor or_undefined(const std::optional<Tensor>& tensor) { return tensor.value_or(Tensor()); }

std::optional<Tensor> or_none(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

Tensor tangent_of(const Tensor& tensor) {
  return tensor.defined() ? tensor._fw_grad(/*level=*/0) : Tensor();
}

// The tensor without its tangent, for use in the tangents' own formulas.
Tensor primal_of(const Tensor& tensor) {
  return tangent_of(tensor).defined() ? tensor._fw_primal(/*level=*/0) : tensor;
}

// (N, C, ...) as rows of one group, in the accumulation dtype; and N*group values beside it.
Tensor groups(const Geometry& geometry, const Tensor& tensor) {
  const auto& [N, C, HxW, group] = geometry;
  return tensor.to(at::toOpMathType(tensor.scalar_type()))
      .reshape_symint({N, c10::SymInt(group), C / group * HxW});
}

Tensor column(const Geometry& geometry, const Tensor& statistics) {
  return statistics.to(at::toOpMathType(statistics.scalar_type()))
      .reshape_symint({geometry.N, c10::SymInt(geometry.group), c10::SymInt(1)});
}

c10::SymInt group_elements(const Geometry& geometry) {
  return (geometry.C / geometry.group * geometry.HxW).max(1);
}

// What the gradients of mean and rstd, as outputs of the forward, add to the gradient of input:
// d mean = mean(dx), d rstd = -rstd^2 mean(x^ dx).
Tensor statistics_vjp(const Geometry& geometry, const Tensor& input, const Tensor& mean,
                      const Tensor& rstd, const Tensor& grad_mean, const Tensor& grad_rstd) {
  const auto count = group_elements(geometry);
  const Tensor r = column(geometry, rstd);
  Tensor offset, out;
  if (grad_mean.defined()) offset = column(geometry, grad_mean) / count;
  if (grad_rstd.defined()) {
    const Tensor slope = column(geometry, grad_rstd) * r * r * r / -count;
    out = (groups(geometry, input) - column(geometry, mean)) * slope;
  }
  if (offset.defined()) {
    out = out.defined() ? out + offset
                        : offset.expand_symint({geometry.N, geometry.group,
                                                geometry.C / geometry.group * geometry.HxW});
  }
  return out.reshape_symint(input.sym_sizes()).to(input.scalar_type());
}

// Saves input, weight, mean, rstd; edges to input, weight, bias.
struct GroupNormBackward : public FunctionalNode<GroupNormBackward, 4, 3> {
  static constexpr size_t kOutputs = 2;

  std::string name() const override { return "GroupNormBackward"; }

  static variable_list vjp(const Geometry& geometry, const variable_list& grads,
                           const SavedTensors& tensors, const Wanted& wanted) {
    const auto& [input, weight, mean, rstd] = tensors;
    const auto& [N, C, HxW, group] = geometry;
    variable_list out(3);
    if (grads[0].defined()) {
      std::tie(out[0], out[1], out[2]) = backward_op().call(
          grads[0], input, mean, rstd, or_none(weight), N, C, HxW, group, wanted);
    }
    if (wanted[0] && (grads[1].defined() || grads[2].defined())) {
      const Tensor more = statistics_vjp(geometry, input, mean, rstd, grads[1], grads[2]);
      out[0] = out[0].defined() ? out[0] + more : more;
    }
    return out;
  }
};

// Tangents of output, mean and rstd; the primal ones are already there.
void set_forward_tangents(const Geometry& geometry, const Tensor& input, const Tensor& weight,
                          const Tensor& bias, const Tensors3& primal) {
  const auto& [output, mean, rstd] = primal;
  const Tensor r = column(geometry, rstd);
  const auto count = group_elements(geometry);
  std::vector<c10::SymInt> per_channel(input.dim(), 1);
  per_channel[1] = geometry.C;
  const auto channels = [&](const Tensor& vector) {
    return vector.to(r.scalar_type()).reshape_symint(per_channel);
  };
  const Tensor xhat = (groups(geometry, primal_of(input)) - column(geometry, mean)) * r;
  Tensor tangent;
  if (const Tensor dx = tangent_of(input); dx.defined()) {
    const Tensor rows = groups(geometry, dx);
    const Tensor mean_dx = rows.sum(-1, true) / count;
    const Tensor mean_xhat_dx = (rows * xhat).sum(-1, true) / count;
    tangent = (r * (rows - mean_dx - xhat * mean_xhat_dx)).reshape_symint(input.sym_sizes());
    if (weight.defined()) tangent = tangent * channels(primal_of(weight));
    mean._set_fw_grad(mean_dx.reshape_symint(mean.sym_sizes()).to(mean.scalar_type()), 0, false);
    rstd._set_fw_grad(
        (-r * r * mean_xhat_dx).reshape_symint(rstd.sym_sizes()).to(rstd.scalar_type()), 0, false);
  }
  if (const Tensor dw = tangent_of(weight); dw.defined()) {
    const Tensor term = xhat.reshape_symint(input.sym_sizes()) * channels(dw);
    tangent = tangent.defined() ? tangent + term : term;
  }
  if (const Tensor db = tangent_of(bias); db.defined()) {
    const Tensor term = channels(db).expand_symint(input.sym_sizes());
    tangent = tangent.defined() ? tangent + term : term;
  }
  output._set_fw_grad(tangent.to(output.scalar_type()), 0, false);
}

Tensors3 forward_autograd(c10::DispatchKeySet keys, const Tensor& input,
                          const std::optional<Tensor>& weight, const std::optional<Tensor>& bias,
                          c10::SymInt N, c10::SymInt C, c10::SymInt HxW, int64_t group,
                          double eps) {
  c10::intrusive_ptr<GroupNormBackward> node;
  if (compute_requires_grad(input, weight, bias)) {
    node = c10::make_intrusive<GroupNormBackward>();
    node->set_next_edges(collect_next_edges(input, weight, bias));
    node->geometry = {N, C, HxW, group};
    node->saved[0] = SavedVariable(input, false);
    node->saved[1] = SavedVariable(weight, false);
  }
  const bool has_tangents =
      isFwGradDefined(input) || isFwGradDefined(weight) || isFwGradDefined(bias);
  Tensors3 result = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return forward_op().redispatch(keys & c10::after_autograd_keyset, input, weight, bias, N, C,
                                   HxW, group, eps);
  }();
  auto& [output, mean, rstd] = result;
  if (node) {
    set_history(output, node);
    set_history(mean, node);
    set_history(rstd, node);
  }
  if (has_tangents) {
    set_forward_tangents({N, C, HxW, group}, input, or_undefined(weight), or_undefined(bias),
                         result);
  }
  if (node) {  // saved last, because a saved output takes its tangent with it
    node->saved[2] = SavedVariable(mean, true);
    node->saved[3] = SavedVariable(rstd, true);
  }
  return result;
}

// Saves and has edges to grad_out, input, mean, rstd, weight.
struct GroupNormBackwardBackward : public FunctionalNode<GroupNormBackwardBackward, 5, 5> {
  static constexpr size_t kOutputs = 5;

  std::string name() const override { return "GroupNormBackwardBackward"; }

  static variable_list vjp(const Geometry& geometry, const variable_list& grads,
                           const SavedTensors& tensors, const Wanted& wanted) {
    const auto& [grad_out, input, mean, rstd, weight] = tensors;
    const auto& [N, C, HxW, group] = geometry;
    const CallGrads out =
        group_norm_backward_vjp({grad_out, input, mean, rstd, weight, N, C, HxW, group},
                                {grads[0], grads[1], grads[2]}, wanted);
    return {out.grad_out, out.input, out.mean, out.rstd, out.weight};
  }
};

Tensors3 backward_autograd(c10::DispatchKeySet keys, const Tensor& grad_out, const Tensor& input,
                           const Tensor& mean, const Tensor& rstd,
                           const std::optional<Tensor>& weight, c10::SymInt N, c10::SymInt C,
                           c10::SymInt HxW, int64_t group, OutputMask output_mask) {
  for (const std::optional<Tensor>& tensor : {std::optional(grad_out), std::optional(input),
                                              std::optional(mean), std::optional(rstd), weight}) {
    if (!isFwGradDefined(tensor)) continue;
    check_backward<c10::SymInt>(grad_out, input, mean, rstd, weight, N, C, HxW, group);
    return group_norm_backward_composite(
        {grad_out, input, mean, rstd, or_undefined(weight), N, C, HxW, group}, output_mask);
  }
  c10::intrusive_ptr<GroupNormBackwardBackward> node;
  if (compute_requires_grad(grad_out, input, mean, rstd, weight)) {
    node = c10::make_intrusive<GroupNormBackwardBackward>();
    node->set_next_edges(collect_next_edges(grad_out, input, mean, rstd, weight));
    node->geometry = {N, C, HxW, group};
    node->saved = {SavedVariable(grad_out, false), SavedVariable(input, false),
                   SavedVariable(mean, false), SavedVariable(rstd, false),
                   SavedVariable(weight, false)};
  }
  Tensors3 result = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return backward_op().redispatch(keys & c10::after_autograd_keyset, grad_out, input, mean, rstd,
                                    weight, N, C, HxW, group, output_mask);
  }();
  if (node) {
    // An output that the mask drops still takes its place among the node's inputs.
    set_history(std::get<0>(result), node);
    set_history(std::get<1>(result), node);
    set_history(std::get<2>(result), node);
  }
  return result;
}

// group_norm is a composite of group_norm_forward: whatever that operator supports, it does.
Tensor group_norm(const Tensor& input, int64_t num_groups, const std::optional<Tensor>& weight,
                  const std::optional<Tensor>& bias, double eps) {
  check_group_norm(input, num_groups);
  const auto sizes = input.sym_sizes();
  return std::get<0>(forward_op().call(input, weight, bias, sizes[0], sizes[1],
                                       c10::multiply_integers(sizes.slice(2)), num_groups, eps));
}

// F.group_norm is on torch_npu's list of functions that autocast runs in float32; on a CPU it is on
// no list.
Tensor group_norm_autocast_npu(const Tensor& input, int64_t num_groups,
                               const std::optional<Tensor>& weight,
                               const std::optional<Tensor>& bias, double eps) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::DispatchKey::AutocastPrivateUse1);
  const auto wide = [](const auto& tensor) {
    return at::autocast::cached_cast(at::kFloat, tensor, c10::DeviceType::PrivateUse1);
  };
  return group_norm_grad::group_norm(wide(input), num_groups, wide(weight), wide(bias), eps);
}

}  // namespace

TORCH_LIBRARY_IMPL(group_norm_grad, Autograd, m) {
  m.impl("group_norm_forward", TORCH_FN(forward_autograd));
  m.impl("group_norm_backward", TORCH_FN(backward_autograd));
}

TORCH_LIBRARY_IMPL(group_norm_grad, CompositeImplicitAutograd, m) {
  m.impl("group_norm", TORCH_FN(group_norm));
}

TORCH_LIBRARY_IMPL(group_norm_grad, AutocastPrivateUse1, m) {
  m.impl("group_norm", TORCH_FN(group_norm_autocast_npu));
}

}  // namespace group_norm_grad
