// group_norm_forward on the CPU: layout, allocation and threads around the kernels. No arithmetic
// on the data here.
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <limits>

#include "call.h"
#include "dispatch.h"
#include "group_norm.h"

namespace group_norm_grad::cpu {
namespace {

template <typename A>
void Forward(const Problem& problem, bool channels_last, double eps, const at::Tensor& input,
             const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>& bias,
             at::Tensor& output, at::Tensor& mean, at::Tensor& rstd) {
  const KernelTable& table = KernelsInUse();
  const Machine machine = ThisMachine(table, problem);
  const int64_t pair_elems = machine.pair_elems;
  const Plan plan = MakeForwardPlan(problem, channels_last, machine);
  const DTypeKernels& of_dtype = table.of[static_cast<int>(problem.dtype)];
  const Kernels<ForwardArgs>& kernels = KernelsFor(plan, of_dtype.forward);
  const bool split = IsSplit(plan.schedule);

  Workspace workspace;
  const ChannelValues<A> weight_acc(weight, problem.C, A(1), of_dtype, workspace);
  const ChannelValues<A> bias_acc(bias, problem.C, A(0), of_dtype, workspace);
  const int64_t finishes = channels_last ? problem.N : problem.N * problem.G;
  const int64_t padded_channels = (problem.C + pair_elems - 1) / pair_elems * pair_elems;
  const int64_t sums_bytes = channels_last ? 2 * padded_channels * sizeof(A) : sizeof(Moments);
  const int64_t sums_at = workspace.Add(split ? finishes * plan.chunks * sums_bytes : 0);
  const int64_t scratch_bytes =
      PaddedScratchBytes(ForwardScratchElems(plan, problem, pair_elems) * sizeof(A));
  const int64_t scratch_at = workspace.Add(scratch_bytes * machine.threads);
  workspace.Allocate();

  ForwardArgs args{};
  args.input = input.const_data_ptr();
  args.output = output.mutable_data_ptr();
  args.weight = weight_acc.Get(workspace);
  args.bias = bias_acc.Get(workspace);
  args.mean = mean.mutable_data_ptr();
  args.rstd = rstd.mutable_data_ptr();
  args.chunk_sums = workspace.At(sums_at);
  args.N = problem.N;
  args.C = problem.C;
  args.S = problem.S;
  args.G = problem.G;
  // No NaN of the caller's that kernels could not round: see DTypeKernels.
  args.eps = std::isnan(eps) ? std::numeric_limits<double>::quiet_NaN() : eps;
  args.plan = plan;
  const Runner<ForwardArgs> run{args, machine.threads, static_cast<char*>(workspace.At(scratch_at)),
                                scratch_bytes};
  RunPlan(run, kernels, finishes, plan.chunks, true);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_forward(
    const at::Tensor& input, const std::optional<at::Tensor>& weight,
    const std::optional<at::Tensor>& bias, int64_t N, int64_t C, int64_t HxW, int64_t group,
    double eps) {
  Problem problem;
  problem.N = N;
  problem.C = C;
  problem.S = HxW;
  problem.G = group;
  problem.dtype = DTypeOf(input.scalar_type());
  const at::ScalarType stat_type = problem.dtype == DType::kFloat64 ? at::kDouble : at::kFloat;

  const at::MemoryFormat format = FormatOf(input, N, C);
  at::Tensor output = at::detail::empty_cpu(input.sizes(), input.scalar_type(), false, format);
  AdviseHugePages(output);
  at::Tensor mean = at::detail::empty_cpu({N, group}, stat_type);
  at::Tensor rstd = at::detail::empty_cpu({N, group}, stat_type);
  if (N == 0 || C == 0 || HxW == 0) {
    // The mean of nothing.
    mean.zero_();
    rstd.fill_(std::numeric_limits<double>::quiet_NaN());
    return {output, mean, rstd};
  }
  const auto dense = input.expect_contiguous(format);
  const auto run = problem.dtype == DType::kFloat64 ? Forward<double> : Forward<float>;
  run(problem, IsChannelsLastWalk(problem, format), eps, *dense, weight, bias, output, mean, rstd);
  return {std::move(output), std::move(mean), std::move(rstd)};
}

}  // namespace group_norm_grad::cpu
