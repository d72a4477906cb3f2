// See run.h.
#include "run.h"

#include <stdexcept>

#include "kernel_table.h"

namespace executor {

namespace {

using group_norm_grad::DType;
using group_norm_grad::Problem;

class DeviceBuffers {
 public:
  uint64_t Input(const char* name, ConstBuffer buffer, int64_t elems, DType dtype) {
    // Cores refuse to write to an input, so the cast away from const is never used.
    return Add(name, const_cast<void*>(buffer.data), buffer.bytes, elems, dtype,
               BufferRole::kInput);
  }
  uint64_t Output(const char* name, MutableBuffer buffer, int64_t elems, DType dtype) {
    return Add(name, buffer.data, buffer.bytes, elems, dtype, BufferRole::kOutput);
  }
  uint64_t Workspace(int64_t bytes) {
    workspace_.assign(static_cast<size_t>(bytes), 0xff);
    return memory_.Add(
        {"workspace", workspace_.data(), workspace_.size(), BufferRole::kWorkspace, 0});
  }
  const GlobalMemory& memory() const { return memory_; }

 private:
  uint64_t Add(const char* name, void* data, uint64_t bytes, int64_t elems, DType dtype,
               BufferRole role) {
    const uint64_t want = static_cast<uint64_t>(elems * group_norm_grad::SizeOf(dtype));
    if (bytes < want || (data == nullptr && want != 0)) {
      throw std::invalid_argument(std::string("Expected ") + name + " to have " +
                                  std::to_string(want) + " bytes, but got " +
                                  (data == nullptr ? "none" : std::to_string(bytes)));
    }
    return memory_.Add({name, static_cast<uint8_t*>(data), want, role, 0});
  }

  GlobalMemory memory_;
  std::vector<uint8_t> workspace_;
};

KernelArguments MakeArguments(DeviceBuffers& device, const Problem& problem,
                              const GroupNormGradBuffers& buffers, int64_t workspace_bytes) {
  using group_norm_grad::kGradBias;
  using group_norm_grad::kGradInput;
  using group_norm_grad::kGradWeight;
  const int64_t numel = problem.N * problem.C * problem.S;
  const int64_t groups = problem.N * problem.G;
  KernelArguments arguments;
  arguments.grad_out = device.Input("grad_out", buffers.grad_out, numel, problem.dtype);
  arguments.input = device.Input("input", buffers.input, numel, problem.dtype);
  arguments.mean = device.Input("mean", buffers.mean, groups, problem.stat_dtype);
  arguments.rstd = device.Input("rstd", buffers.rstd, groups, problem.stat_dtype);
  if (problem.has_weight) {
    arguments.weight = device.Input("weight", buffers.weight, problem.C, problem.weight_dtype);
  }
  if (problem.output_mask[kGradInput]) {
    arguments.grad_input = device.Output("grad_input", buffers.grad_input, numel, problem.dtype);
  }
  if (problem.output_mask[kGradWeight]) {
    arguments.grad_weight =
        device.Output("grad_weight", buffers.grad_weight, problem.C, problem.weight_dtype);
  }
  if (problem.output_mask[kGradBias]) {
    arguments.grad_bias =
        device.Output("grad_bias", buffers.grad_bias, problem.C, problem.weight_dtype);
  }
  if (workspace_bytes > 0) arguments.workspace = device.Workspace(workspace_bytes);
  return arguments;
}

}  // namespace

Report RunGroupNormGrad(const group_norm_grad::Plan& plan,
                        const group_norm_grad::Platform& platform, const Problem& problem,
                        const GroupNormGradBuffers& buffers, const RunOptions& options) {
  DeviceBuffers device_buffers;
  const KernelArguments arguments =
      MakeArguments(device_buffers, problem, buffers, plan.workspace_bytes);
  if (plan.blocks == 0) {
    Report nothing;
    nothing.completed = true;
    return nothing;
  }
  Device device;
  device.name = platform.soc;
  device.arch = platform.arch;
  device.vector_cores = platform.vector_cores;
  device.ub_bytes = static_cast<uint32_t>(platform.ub_bytes);
  // No schedule needs more than a few instructions an element, even where each channel is its own
  // row.
  Options launch = options.launch;
  launch.max_instructions = static_cast<uint64_t>(
      200'000 + 8 * problem.N * problem.C * problem.S / plan.blocks + 8 * problem.C);
  const KernelFunction kernel = platform.arch == 3510 ? &RunKernel3510 : &RunKernel2201;
  std::optional<CostRequest> cost;
  if (options.cost) {
    const double clock_ghz = platform.clock_mhz / 1000.0;
    cost = CostRequest{{platform.hbm_gb_per_s, platform.l2_gb_per_s, clock_ghz,
                        static_cast<uint64_t>(platform.l2_bytes)},
                       options.trace_path};
  }
  return CheckedLaunch([&] { kernel(problem.dtype, arguments, &plan.tiling); }, plan.blocks, device,
                       device_buffers.memory(), launch, options.checks, cost);
}

}  // namespace executor
