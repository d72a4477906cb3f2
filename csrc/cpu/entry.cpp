// group_norm_backward on the CPU: layout, allocation and threads around the kernels. No arithmetic
// on the data here.
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>

#include <algorithm>

#include "call.h"
#include "dispatch.h"
#include "group_norm.h"
#include "plan.h"

namespace group_norm_grad::cpu {
namespace {

template <typename A>
void Backward(const Problem& problem, bool channels_last, const at::Tensor& grad_out,
              const at::Tensor& input, const at::Tensor& mean, const at::Tensor& rstd,
              const std::optional<at::Tensor>& weight, at::Tensor& grad_input,
              at::Tensor& grad_weight, at::Tensor& grad_bias) {
  const KernelTable& table = KernelsInUse();
  const int64_t N = problem.N, C = problem.C, S = problem.S, G = problem.G;
  const Machine machine = ThisMachine(table, problem);
  const int64_t pair_elems = machine.pair_elems;
  const Plan plan = MakeBackwardPlan(problem, channels_last, machine);
  const DTypeKernels& of_dtype = table.of[static_cast<int>(problem.dtype)];
  const Kernels<BackwardArgs>& kernels = KernelsFor(plan, of_dtype.backward);
  const bool split = IsSplit(plan.schedule);

  Workspace workspace;
  const AsAcc<A> mean_acc(mean, of_dtype, workspace), rstd_acc(rstd, of_dtype, workspace);
  const ChannelValues<A> weight_acc(weight, C, A(1), of_dtype, workspace);
  struct ChannelGradient {
    at::Tensor& tensor;
    bool direct;  // the partial sums are the result, or the sum over them is
    int64_t partial_at = 0, sum_at = 0;
    void* partial = nullptr;
  };
  const int64_t blocks = plan.sample_blocks;
  ChannelGradient gradients[2] = {{grad_weight, false}, {grad_bias, false}};
  for (ChannelGradient& gradient : gradients) {
    if (!gradient.tensor.defined()) continue;
    gradient.direct = gradient.tensor.scalar_type() == c10::CppTypeToScalarType<A>::value;
    if (blocks > 1 || !gradient.direct) gradient.partial_at = workspace.Add(blocks * C * sizeof(A));
    if (blocks > 1 && !gradient.direct) gradient.sum_at = workspace.Add(C * sizeof(A));
  }
  const int64_t chunk_sums =
      !split          ? 0
      : channels_last ? N * plan.chunks * ((C + pair_elems - 1) / pair_elems * pair_elems)
                      : N * C * plan.chunks;
  const int64_t centred_at = workspace.Add(chunk_sums * sizeof(A));
  const int64_t plain_at = workspace.Add(chunk_sums * sizeof(A));
  const int64_t slopes_at = workspace.Add(split ? N * G * 2 * sizeof(A) : 0);
  const int64_t scratch_bytes =
      PaddedScratchBytes(ScratchElems(plan, problem, pair_elems) * sizeof(A));
  const int64_t scratch_at = workspace.Add(scratch_bytes * machine.threads);
  workspace.Allocate();

  BackwardArgs args{};
  args.grad_out = grad_out.const_data_ptr();
  args.input = input.const_data_ptr();
  args.grad_input = grad_input.defined() ? grad_input.mutable_data_ptr() : nullptr;
  args.mean = mean_acc.Get(workspace);
  args.rstd = rstd_acc.Get(workspace);
  args.weight = weight_acc.Get(workspace);
  for (ChannelGradient& gradient : gradients) {
    if (!gradient.tensor.defined()) continue;
    gradient.partial = blocks > 1 || !gradient.direct ? workspace.At(gradient.partial_at)
                                                      : gradient.tensor.mutable_data_ptr();
  }
  args.partial_weight = gradients[0].partial;
  args.partial_bias = gradients[1].partial;
  args.chunk_centred = workspace.At(centred_at);
  args.chunk_plain = workspace.At(plain_at);
  args.slopes = workspace.At(slopes_at);
  args.N = N;
  args.C = C;
  args.S = S;
  args.G = G;
  args.plan = plan;

  const Runner<BackwardArgs> run{args, machine.threads,
                                 static_cast<char*>(workspace.At(scratch_at)), scratch_bytes};
  // A split pass over rows has D rows a group.
  RunPlan(run, kernels, channels_last ? N : N * G, plan.chunks * (channels_last ? 1 : C / G),
          grad_input.defined());

  for (ChannelGradient& gradient : gradients) {
    if (!gradient.tensor.defined() || (blocks == 1 && gradient.direct)) continue;
    void* sum = blocks == 1       ? gradient.partial
                : gradient.direct ? gradient.tensor.mutable_data_ptr()
                                  : workspace.At(gradient.sum_at);
    if (blocks > 1) {
      const int64_t grain = std::max<int64_t>(kGrainElems / blocks, pair_elems);
      at::parallel_for(0, C, grain, [&](int64_t begin, int64_t end) {
        of_dtype.sum_rows(gradient.partial, blocks, C, sum, begin, end);
      });
    }
    if (!gradient.direct) of_dtype.from_acc(sum, C, gradient.tensor.mutable_data_ptr());
  }
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_backward(
    const at::Tensor& grad_out, const at::Tensor& input, const at::Tensor& mean,
    const at::Tensor& rstd, const std::optional<at::Tensor>& weight, int64_t N, int64_t C,
    int64_t HxW, int64_t group, std::array<bool, 3> output_mask) {
  Problem problem;
  problem.N = N;
  problem.C = C;
  problem.S = HxW;
  problem.G = group;
  problem.dtype = DTypeOf(input.scalar_type());
  problem.stat_dtype = DTypeOf(mean.scalar_type());
  problem.has_weight = weight.has_value() && weight->defined();
  problem.output_mask = output_mask;
  const at::ScalarType weight_type =
      problem.has_weight ? weight->scalar_type() : mean.scalar_type();
  problem.weight_dtype = DTypeOf(weight_type);

  const at::MemoryFormat format = FormatOf(input, N, C);
  at::Tensor grad_input, grad_weight, grad_bias;
  if (output_mask[kGradInput]) {
    grad_input = at::detail::empty_cpu(input.sizes(), input.scalar_type(), false, format);
    AdviseHugePages(grad_input);
  }
  if (output_mask[kGradWeight]) grad_weight = at::detail::empty_cpu({C}, weight_type);
  if (output_mask[kGradBias]) grad_bias = at::detail::empty_cpu({C}, weight_type);
  if (N == 0 || C == 0 || HxW == 0) {
    if (grad_weight.defined()) grad_weight.zero_();
    if (grad_bias.defined()) grad_bias.zero_();
    return {grad_input, grad_weight, grad_bias};
  }
  if (!(grad_input.defined() || grad_weight.defined() || grad_bias.defined())) return {};

  const auto input_dense = input.expect_contiguous(format);
  const auto grad_out_dense =
      grad_out.sizes() == input.sizes()
          ? grad_out.expect_contiguous(format)
          : c10::MaybeOwned<at::Tensor>::owned(grad_out.reshape(input.sizes()).contiguous(format));
  const auto run = problem.dtype == DType::kFloat64 ? Backward<double> : Backward<float>;
  run(problem, IsChannelsLastWalk(problem, format), *grad_out_dense, *input_dense, mean, rstd,
      weight, grad_input, grad_weight, grad_bias);
  return {std::move(grad_input), std::move(grad_weight), std::move(grad_bias)};
}

}  // namespace group_norm_grad::cpu
