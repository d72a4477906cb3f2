// Autograd of our operators: graph nodes for reverse mode, tangents for forward mode. No arithmetic
// on data of its own beyond small corrections; kernels are reached through the dispatcher.
//
// Why C++ nodes and not torch::autograd::Function or a Python Function: the former is refused under
// functorch transforms, the latter costs 7 to 29 us a call; a node whose backward calls dispatcher
// operators is what PyTorch generates for its own, costs the same, and every transform sees through
// it.
#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/library.h>

#include "csrc/checks.h"
#include "csrc/double_backward.h"
#include "csrc/ops.h"

namespace group_norm_grad {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::SavedVariable;
using torch::autograd::set_history;
using torch::autograd::variable_list;

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

struct Geometry {
  c10::SymInt N, C, HxW;
  int64_t group = 0;

  // (N, C, ...) as rows of one group, in the accumulation dtype; and N*group values beside it.
  Tensor groups(const Tensor& tensor) const {
    return tensor.to(at::toOpMathType(tensor.scalar_type()))
        .reshape_symint({N, c10::SymInt(group), C / group * HxW});
  }
  Tensor column(const Tensor& statistics) const {
    return statistics.to(at::toOpMathType(statistics.scalar_type()))
        .reshape_symint({N, c10::SymInt(group), c10::SymInt(1)});
  }
  c10::SymInt group_elements() const { return (C / group * HxW).max(1); }
};

// What the gradients of mean and rstd, as outputs of the forward, add to the gradient of input:
// d mean = mean(dx), d rstd = -rstd^2 mean(x^ dx).
Tensor statistics_vjp(const Geometry& geometry, const Tensor& input, const Tensor& mean,
                      const Tensor& rstd, const Tensor& grad_mean, const Tensor& grad_rstd) {
  const auto count = geometry.group_elements();
  const Tensor r = geometry.column(rstd);
  Tensor offset, out;
  if (grad_mean.defined()) offset = geometry.column(grad_mean) / count;
  if (grad_rstd.defined()) {
    const Tensor slope = geometry.column(grad_rstd) * r * r * r / -count;
    out = (geometry.groups(input) - geometry.column(mean)) * slope;
  }
  if (offset.defined()) {
    out = out.defined() ? out + offset
                        : offset.expand_symint({geometry.N, geometry.group,
                                                geometry.C / geometry.group * geometry.HxW});
  }
  return out.reshape_symint(input.sym_sizes()).to(input.scalar_type());
}

struct GroupNormBackward : public torch::autograd::TraceableFunction {
  Geometry geometry;
  SavedVariable input_, weight_, mean_, rstd_;

  std::string name() const override { return "GroupNormBackward"; }

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    variable_list out(3);
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined()) return out;
    const Tensor input = input_.unpack(), weight = weight_.unpack();
    const Tensor mean = mean_.unpack(getptr()), rstd = rstd_.unpack(getptr());
    const auto& [N, C, HxW, group] = geometry;
    if (grads[0].defined()) {
      const OutputMask mask = {task_should_compute_output(0), task_should_compute_output(1),
                               task_should_compute_output(2)};
      std::tie(out[0], out[1], out[2]) =
          backward_op().call(grads[0], input, mean, rstd, or_none(weight), N, C, HxW, group, mask);
    }
    if (task_should_compute_output(0) && (grads[1].defined() || grads[2].defined())) {
      const Tensor more = statistics_vjp(geometry, input, mean, rstd, grads[1], grads[2]);
      out[0] = out[0].defined() ? out[0] + more : more;
    }
    return out;
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable* saved : {&input_, &weight_, &mean_, &rstd_}) saved->reset_data();
  }
};

// Tangents of output, mean and rstd; the primal ones are already there.
void set_forward_tangents(const Geometry& geometry, const Tensor& input, const Tensor& weight,
                          const Tensor& bias, const Tensors3& primal) {
  const auto& [output, mean, rstd] = primal;
  const Tensor r = geometry.column(rstd);
  const auto count = geometry.group_elements();
  std::vector<c10::SymInt> per_channel(input.dim(), 1);
  per_channel[1] = geometry.C;
  const auto channels = [&](const Tensor& vector) {
    return vector.to(r.scalar_type()).reshape_symint(per_channel);
  };
  const Tensor xhat = (geometry.groups(primal_of(input)) - geometry.column(mean)) * r;
  Tensor tangent;
  if (const Tensor dx = tangent_of(input); dx.defined()) {
    const Tensor rows = geometry.groups(dx);
    const Tensor mean_dx = rows.sum(-1, true) / count;
    const Tensor mean_xhgeometrydx = (rows * xhat).sum(-1, true) / count;
    tangent = (r * (rows - mean_dx - xhat * mean_xhgeometrydx)).reshape_symint(input.sym_sizes());
    if (weight.defined()) tangent = tangent * channels(primal_of(weight));
    mean._set_fw_grad(mean_dx.reshape_symint(mean.sym_sizes()).to(mean.scalar_type()), 0, false);
    rstd._set_fw_grad(
        (-r * r * mean_xhgeometrydx).reshape_symint(rstd.sym_sizes()).to(rstd.scalar_type()), 0,
        false);
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
    node->input_ = SavedVariable(input, false);
    node->weight_ = SavedVariable(weight, false);
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
    node->mean_ = SavedVariable(mean, true);
    node->rstd_ = SavedVariable(rstd, true);
  }
  return result;
}

struct GroupNormBackwardBackward : public torch::autograd::TraceableFunction {
  Geometry geometry;
  SavedVariable grad_out_, input_, mean_, rstd_, weight_;

  std::string name() const override { return "GroupNormBackwardBackward"; }

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined()) return variable_list(5);
    const BackwardCall call{grad_out_.unpack(), input_.unpack(),  mean_.unpack(),
                            rstd_.unpack(),     weight_.unpack(), geometry.N,
                            geometry.C,         geometry.HxW,     geometry.group};
    std::array<bool, 5> wanted;
    for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = task_should_compute_output(i);
    auto out = group_norm_backward_vjp(call, {grads[0], grads[1], grads[2]}, wanted);
    return {out.grad_out, out.input, out.mean, out.rstd, out.weight};
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable* saved : {&grad_out_, &input_, &mean_, &rstd_, &weight_})
      saved->reset_data();
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
    node->grad_out_ = SavedVariable(grad_out, false);
    node->input_ = SavedVariable(input, false);
    node->mean_ = SavedVariable(mean, false);
    node->rstd_ = SavedVariable(rstd, false);
    node->weight_ = SavedVariable(weight, false);
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

}  // namespace

TORCH_LIBRARY_IMPL(group_norm_grad, Autograd, m) {
  m.impl("group_norm_forward", TORCH_FN(forward_autograd));
  m.impl("group_norm_backward", TORCH_FN(backward_autograd));
}

TORCH_LIBRARY_IMPL(group_norm_grad, CompositeImplicitAutograd, m) {
  m.impl("group_norm", TORCH_FN(group_norm));
}

}  // namespace group_norm_grad
