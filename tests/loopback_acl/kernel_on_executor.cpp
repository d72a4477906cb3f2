// libgroup_norm_grad_kernel_<arch>.so of the loopback runtime: the kernel's device is the executor,
// with every check on, in the order of the stream. What the executor finds is a violation.
#include <acl/acl.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/executor/run.h"
#include "kernels/op_host/device_kernel.h"
#include "loopback_acl.h"

namespace {

using group_norm_grad::Problem;

struct Call {
  Problem problem;
  const group_norm_grad::Platform* platform;
  group_norm_grad::Plan plan;
  GroupNormGradLaunch at;
};

std::atomic<uint64_t> calls_run{0};

uint64_t Number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// The executor checks accesses against these sizes, so they are the tensors' and not the
// allocations'.
executor::ConstBuffer Input(const void* address, int64_t elements, group_norm_grad::DType dtype) {
  const auto bytes = static_cast<uint64_t>(elements * group_norm_grad::SizeOf(dtype));
  return bytes == 0 ? executor::ConstBuffer{}
                    : executor::ConstBuffer{LoopbackAclView(address, bytes), bytes};
}

executor::MutableBuffer Output(void* address, bool wanted, int64_t elements,
                               group_norm_grad::DType dtype) {
  if (!wanted) return {};
  const executor::ConstBuffer buffer = Input(address, elements, dtype);
  return {const_cast<void*>(buffer.data), buffer.bytes};
}

void Run(const Call& call) {
  const Problem& problem = call.problem;
  const int64_t numel = problem.N * problem.C * problem.S;
  executor::GroupNormGradBuffers buffers;
  buffers.grad_out = Input(call.at.grad_out, numel, problem.dtype);
  buffers.input = Input(call.at.input, numel, problem.dtype);
  buffers.mean = Input(call.at.mean, problem.N * problem.G, problem.stat_dtype);
  buffers.rstd = Input(call.at.rstd, problem.N * problem.G, problem.stat_dtype);
  if (problem.has_weight) buffers.weight = Input(call.at.weight, problem.C, problem.weight_dtype);
  buffers.grad_input = Output(call.at.grad_input, problem.output_mask[0], numel, problem.dtype);
  buffers.grad_weight =
      Output(call.at.grad_weight, problem.output_mask[1], problem.C, problem.weight_dtype);
  buffers.grad_bias =
      Output(call.at.grad_bias, problem.output_mask[2], problem.C, problem.weight_dtype);
  // The executor has a workspace of its own; the caller's is overwritten, so that one in use by
  // others shows.
  const auto workspace_bytes = static_cast<uint64_t>(call.plan.workspace_bytes);
  if (void* workspace = LoopbackAclView(call.at.workspace, workspace_bytes)) {
    std::memset(workspace, 0x7F, workspace_bytes);
  }
  executor::RunOptions options;
  options.launch.seed = Number("LOOPBACK_ACL_SEED", 0) + calls_run.fetch_add(1);
  options.launch.threads = 1;
  options.checks = Number("LOOPBACK_ACL_KERNEL_CHECKS", 1) != 0;
  const executor::Report report =
      executor::RunGroupNormGrad(call.plan, *call.platform, problem, buffers, options);
  for (const executor::Finding& finding : report.findings) {
    LoopbackAclViolation(("the kernel: " + finding.check + ": " + finding.text).c_str());
  }
  if (!report.completed) LoopbackAclViolation("the kernel did not complete");
}

void RunAndDelete(void* argument) {
  auto* call = static_cast<Call*>(argument);
  try {
    Run(*call);
  } catch (const std::exception& error) {
    LoopbackAclViolation((std::string("the kernel: ") + error.what()).c_str());
  }
  delete call;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int32_t GroupNormGradKernelLaunch(
    const GroupNormGradLaunch* launch, void* stream) {
  const int32_t device = LoopbackAclStreamDevice(stream);
  for (const void* address :
       {launch->grad_out, launch->input, launch->mean, launch->rstd, launch->weight,
        static_cast<const void*>(launch->grad_input), static_cast<const void*>(launch->grad_weight),
        static_cast<const void*>(launch->grad_bias), static_cast<const void*>(launch->workspace)}) {
    // A stream that does not exist is the launch's own error.
    if (address != nullptr && device >= 0 && LoopbackAclDeviceOf(address) != device) {
      LoopbackAclViolation("an argument of the kernel is not on the stream's device");
    }
  }
  auto* call = new Call{*launch->problem, launch->platform, *launch->plan, *launch};
  call->at.problem = nullptr;  // the caller's, gone when the stream gets here
  call->at.plan = nullptr;
  return aclrtLaunchHostFunc(stream, RunAndDelete, call);
}

__attribute__((visibility("default"))) const char* GroupNormGradKernelId(void) {
  return GROUP_NORM_GRAD_KERNEL_ID;
}

__attribute__((visibility("default"))) uint64_t LoopbackKernelCalls(void) {
  return calls_run.load();
}
}
