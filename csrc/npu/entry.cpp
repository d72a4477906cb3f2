// The PrivateUse1 kernels: checks, route of the product, contiguous inputs, allocation, and the
// launch through torch_npu's task queue. No arithmetic.
#include <ATen/ops/empty.h>
#include <ATen/ops/native_group_norm.h>
#include <torch/version.h>

#include "csrc/checks.h"
#include "csrc/npu/composite.h"
#include "csrc/npu/kernels.h"
#include "kernels/op_host/launch.h"
#include "kernels/op_host/plan.h"
#include "kernels/op_host/route.h"
#include "torch_npu/csrc/core/npu/NPUFormat.h"
#include "torch_npu/csrc/core/npu/NPUGuard.h"
#include "torch_npu/csrc/core/npu/NPUStream.h"
#include "torch_npu/csrc/framework/OpCommand.h"

namespace group_norm_grad::npu {
namespace {

using OptionalTensor = std::optional<Tensor>;

const Route& this_route() {
  static const Route route = FindRoute(aclrtGetSocName());
  return route;
}

Problem problem_of(const Tensor& input, const Tensor& mean, const OptionalTensor& weight, int64_t N,
                   int64_t C, int64_t HxW, int64_t group, OutputMask output_mask) {
  constexpr const char* kOp = "group_norm_backward";
  Problem problem;
  problem.N = N;
  problem.C = C;
  problem.S = HxW;
  problem.G = group;
  problem.dtype = checked_dtype(kOp, input.scalar_type());
  problem.stat_dtype = checked_dtype(kOp, mean.scalar_type());
  problem.has_weight = has_value(weight);
  problem.weight_dtype =
      problem.has_weight ? checked_dtype(kOp, weight->scalar_type()) : problem.stat_dtype;
  problem.output_mask = output_mask;
  return problem;
}

// Queued work holds addresses, never tensors: a reference that the queue's thread drops last, at
// the end of the process, would call into an interpreter that is gone. The memory stays, because
// torch_npu's allocator gives it only to later work of the same stream.
struct Queued {
  Problem problem;
  Plan plan;
  GroupNormGradLaunch launch;
  aclrtStream stream;

  int operator()() const {
    GroupNormGradLaunch call = launch;
    call.problem = &problem;
    call.plan = &plan;
    const LaunchStatus status = Launch(call, stream);
    if (status) return 0;
    aclAppLog(ACL_ERROR, "group_norm_backward", "", 0, "%s", status.text.c_str());
    return ACL_ERROR_RT_FAILURE;
  }
};

void* address_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr() : nullptr;
}

// In row-major order. With torch.npu.config.allow_internal_format, torch_npu may keep an image in a
// format of the matrix unit, which its strides do not show.
Tensor row_major(const Tensor& tensor) {
  const int64_t base = tensor.dim() == 4   ? ACL_FORMAT_NCHW
                       : tensor.dim() == 5 ? ACL_FORMAT_NCDHW
                                           : ACL_FORMAT_ND;
  const int64_t format = at_npu::native::get_npu_format(tensor);
  const bool plain = format == ACL_FORMAT_ND || format == ACL_FORMAT_NCHW ||
                     format == ACL_FORMAT_NHWC || format == ACL_FORMAT_NCDHW;
  return (plain ? tensor : at_npu::native::npu_format_cast(tensor, base)).contiguous();
}

Tensors3 run_kernel(const Platform& platform, const Problem& problem, const Tensor& grad_out,
                    const Tensor& input, const Tensor& mean, const Tensor& rstd,
                    const OptionalTensor& weight) {
  const LaunchStatus ready = FindKernelLibrary(platform.arch);
  TORCH_CHECK(ready, ready.text);

  Queued work;
  work.problem = problem;
  work.plan = MakePlan(problem, platform);
  const Tensor dy = row_major(grad_out), x = row_major(input);
  const Tensor mu = row_major(mean), r = row_major(rstd);
  const Tensor gamma = problem.has_weight ? row_major(*weight) : Tensor();
  const auto options = input.options();
  const auto channel_options =
      options.dtype(problem.has_weight ? weight->scalar_type() : mean.scalar_type());
  Tensor grad_input, grad_weight, grad_bias, workspace;
  if (problem.output_mask[kGradInput]) grad_input = at::empty(input.sizes(), options);
  if (problem.output_mask[kGradWeight]) grad_weight = at::empty({problem.C}, channel_options);
  if (problem.output_mask[kGradBias]) grad_bias = at::empty({problem.C}, channel_options);
  if (work.plan.blocks == 0) return {grad_input, grad_weight, grad_bias};
  workspace = at::empty({work.plan.workspace_bytes}, options.dtype(at::kByte));

  work.launch.platform = &platform;
  work.launch.grad_out = address_of(dy);
  work.launch.input = address_of(x);
  work.launch.mean = address_of(mu);
  work.launch.rstd = address_of(r);
  work.launch.weight = address_of(gamma);
  work.launch.grad_input = address_of(grad_input);
  work.launch.grad_weight = address_of(grad_weight);
  work.launch.grad_bias = address_of(grad_bias);
  work.launch.workspace = address_of(workspace);
  work.stream = c10_npu::getCurrentNPUStream().stream(false);
  at_npu::native::OpCommand::RunOpApiV2("GroupNormGrad", work);
  return {grad_input, grad_weight, grad_bias};
}

Tensors3 backward(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                  const Tensor& rstd, const OptionalTensor& weight, int64_t N, int64_t C,
                  int64_t HxW, int64_t group, OutputMask output_mask) {
  check_backward<int64_t>(grad_out, input, mean, rstd, weight, N, C, HxW, group);
  TORCH_CHECK_NOT_IMPLEMENTED(
      input.scalar_type() != at::kDouble,
      "\"group_norm_backward\" not implemented for 'Double' on npu: expected Float, Half or "
      "BFloat16");
  const c10_npu::NPUGuard guard(input.device());
  const Problem problem = problem_of(input, mean, weight, N, C, HxW, group, output_mask);
  const Route& route = this_route();
  switch (route.kind) {
    case RouteKind::kKernel:
      return run_kernel(*route.platform, problem, grad_out, input, mean, rstd, weight);
    case RouteKind::kComposite:
      TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kBFloat16,
                                  "\"group_norm_backward\" not implemented for 'BFloat16' on ",
                                  aclrtGetSocName(), ": expected Float or Half");
      return backward_composite(grad_out, input, mean, rstd, weight.value_or(Tensor()), problem);
    case RouteKind::kUnsupported:
      break;
  }
  TORCH_CHECK_NOT_IMPLEMENTED(false, UnsupportedText(aclrtGetSocName()));
}

// torch_npu's forward keeps the statistics in input's dtype; for 16-bit input it runs in float32,
// so that they are in float32.
Tensors3 forward(const Tensor& input, const OptionalTensor& weight, const OptionalTensor& bias,
                 int64_t N, int64_t C, int64_t HxW, int64_t group, double eps) {
  check_forward<int64_t>(input, weight, bias, N, C, HxW, group);
  const c10_npu::NPUGuard guard(input.device());
  const at::ScalarType type =
      at::isReducedFloatingType(input.scalar_type()) ? at::kFloat : input.scalar_type();
  const auto dense = [type](const OptionalTensor& tensor) {
    return has_value(tensor) ? OptionalTensor(tensor->to(type).contiguous()) : std::nullopt;
  };
  auto [output, mean, rstd] = at::native_group_norm(input.to(type).contiguous(), dense(weight),
                                                    dense(bias), N, C, HxW, group, eps);
  return {output.to(input.scalar_type()), mean, rstd};
}

std::string describe() {
  const char* soc = aclrtGetSocName();
  if (soc == nullptr) return "built; the runtime has not told the NPU's name yet";
  const Route route = FindRoute(soc);
  switch (route.kind) {
    case RouteKind::kKernel: {
      const LaunchStatus ready = FindKernelLibrary(route.platform->arch);
      return ready ? std::string("our kernel, on ") + soc : ready.text;
    }
    case RouteKind::kComposite:
      return std::string("composed of ATen operators, on ") + soc;
    case RouteKind::kUnsupported:
      break;
  }
  return UnsupportedText(soc);
}

}  // namespace
}  // namespace group_norm_grad::npu

extern "C" __attribute__((visibility("default"))) const group_norm_grad::npu::Kernels*
group_norm_grad_npu_kernels() {
  static const group_norm_grad::npu::Kernels kernels = {
      TORCH_VERSION, group_norm_grad::npu::forward, group_norm_grad::npu::backward,
      group_norm_grad::npu::describe};
  return &kernels;
}
