// group_norm_backward on the CPU: layout, allocation and threads around the kernels. No arithmetic
// on the data here.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <memory>

#include "dispatch.h"
#include "group_norm.h"
#include "plan.h"

namespace group_norm_grad::cpu {
namespace {

// Elements below which another thread costs more than it saves.
constexpr int64_t kGrainElems = 16384;

DType DTypeOf(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return DType::kFloat16;
    case at::kBFloat16:
      return DType::kBFloat16;
    case at::kDouble:
      return DType::kFloat64;
    default:
      return DType::kFloat32;
  }
}

// Calls f with a null pointer to the C++ type of a dtype.
template <typename F>
void VisitType(at::ScalarType type, const F& f) {
  switch (type) {
    case at::kHalf:
      return f(static_cast<at::Half*>(nullptr));
    case at::kBFloat16:
      return f(static_cast<at::BFloat16*>(nullptr));
    case at::kDouble:
      return f(static_cast<double*>(nullptr));
    default:
      return f(static_cast<float*>(nullptr));
  }
}

// One allocation for everything that lives as long as the call; parts are asked for first, and have
// addresses afterwards.
class Workspace {
 public:
  // Returns the part's offset, on a cache line.
  int64_t Add(int64_t bytes) {
    const int64_t at = size_;
    size_ += (bytes + 63) / 64 * 64;
    return at;
  }
  void Allocate() { data_.reset(static_cast<char*>(c10::alloc_cpu(size_))); }
  void* At(int64_t offset) const { return data_.get() + offset; }

 private:
  struct Free {
    void operator()(char* p) const { c10::free_cpu(p); }
  };
  int64_t size_ = 0;
  std::unique_ptr<char, Free> data_;
};

Machine ThisMachine(int64_t pair_elems, int64_t numel) {
  Machine machine;
  machine.pair_elems = pair_elems;
  machine.threads = numel < 2 * kGrainElems || at::in_parallel_region() ? 1 : at::get_num_threads();
  return machine;
}

// Runs kernels over [0, tasks), on as many threads as the tasks are worth.
struct Runner {
  const BackwardArgs& args;
  int64_t threads;
  char* scratch;
  int64_t scratch_bytes;

  void operator()(BackwardFn kernel, int64_t tasks, int64_t task_elems) const {
    if (threads == 1) return kernel(args, 0, tasks, scratch);
    const int64_t grain = std::max<int64_t>(kGrainElems / std::max<int64_t>(task_elems, 1), 1);
    at::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
      kernel(args, begin, end, scratch + at::get_thread_num() * scratch_bytes);
    });
  }
};

// The small inputs, as the kernels want them: contiguous and of the dtype A of the sums.
template <typename A>
class AsAcc {
 public:
  AsAcc(const at::Tensor& tensor, Workspace& workspace)
      : tensor_(tensor.expect_contiguous()), converted_(tensor.scalar_type() != TypeOfA()) {
    if (converted_) at_ = workspace.Add(tensor.numel() * sizeof(A));
  }
  const A* Get(const Workspace& workspace) const {
    if (!converted_) return tensor_->const_data_ptr<A>();
    A* out = static_cast<A*>(workspace.At(at_));
    VisitType(tensor_->scalar_type(), [&](auto* type) {
      const auto* in = static_cast<decltype(type)>(const_cast<void*>(tensor_->const_data_ptr()));
      std::copy_n(in, tensor_->numel(), out);
    });
    return out;
  }

 private:
  static constexpr at::ScalarType TypeOfA() { return c10::CppTypeToScalarType<A>::value; }
  c10::MaybeOwned<at::Tensor> tensor_;
  bool converted_;
  int64_t at_ = 0;
};

template <typename A>
void Backward(const Problem& problem, bool channels_last, const at::Tensor& grad_out,
              const at::Tensor& input, const at::Tensor& mean, const at::Tensor& rstd,
              const std::optional<at::Tensor>& weight, at::Tensor& grad_input,
              at::Tensor& grad_weight, at::Tensor& grad_bias) {
  const KernelTable& table = Kernels();
  const int64_t pair_elems = 2 * table.vector_bytes / static_cast<int64_t>(sizeof(A));
  const int64_t N = problem.N, C = problem.C, S = problem.S, G = problem.G;
  const Machine machine = ThisMachine(pair_elems, N * C * S);
  const Plan plan = MakeBackwardPlan(problem, channels_last, machine);
  const DTypeKernels& of_dtype = table.of[static_cast<int>(problem.dtype)];
  const BackwardKernels& kernels = plan.schedule == Schedule::kFusedFlat ? of_dtype.flat
                                   : IsChannelsLast(plan.schedule)       ? of_dtype.channels_last
                                                                         : of_dtype.rows;
  const bool split = IsSplit(plan.schedule);

  Workspace workspace;
  const AsAcc<A> mean_acc(mean, workspace), rstd_acc(rstd, workspace);
  std::optional<AsAcc<A>> weight_acc;
  int64_t ones_at = 0;
  if (problem.has_weight) {
    weight_acc.emplace(*weight, workspace);
  } else {
    ones_at = workspace.Add(C * sizeof(A));
  }
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
  // A cache line between the threads' scratches.
  const int64_t scratch_bytes =
      (ScratchElems(plan, problem, pair_elems) * sizeof(A) + 127) / 64 * 64;
  const int64_t scratch_at = workspace.Add(scratch_bytes * machine.threads);
  workspace.Allocate();

  BackwardArgs args{};
  args.grad_out = grad_out.const_data_ptr();
  args.input = input.const_data_ptr();
  args.grad_input = grad_input.defined() ? grad_input.mutable_data_ptr() : nullptr;
  args.mean = mean_acc.Get(workspace);
  args.rstd = rstd_acc.Get(workspace);
  if (problem.has_weight) {
    args.weight = weight_acc->Get(workspace);
  } else {
    A* ones = static_cast<A*>(workspace.At(ones_at));
    std::fill_n(ones, C, A(1));
    args.weight = ones;
  }
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

  const Runner run{args, machine.threads, static_cast<char*>(workspace.At(scratch_at)),
                   scratch_bytes};
  if (!split) {
    run(kernels.fused, plan.tasks, plan.task_elems);
  } else {
    const int64_t rows = channels_last ? N : N * C;
    const int64_t chunk_elems = N * C * S / (rows * plan.chunks);
    run(kernels.sums, rows * plan.chunks, chunk_elems);
    const int64_t finishes = channels_last ? N : N * G;
    run(kernels.finish, finishes, N * C * plan.chunks / finishes);
    if (grad_input.defined()) run(kernels.apply, rows * plan.chunks, chunk_elems);
  }

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
    if (!gradient.direct) {
      VisitType(gradient.tensor.scalar_type(), [&](auto* type) {
        std::copy_n(static_cast<const A*>(sum), C,
                    static_cast<decltype(type)>(gradient.tensor.mutable_data_ptr()));
      });
    }
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

  const bool described = input.dim() >= 2 && input.size(0) == N && input.size(1) == C;
  const at::MemoryFormat format =
      described ? input.suggest_memory_format() : at::MemoryFormat::Contiguous;
  at::Tensor grad_input, grad_weight, grad_bias;
  if (output_mask[kGradInput]) {
    grad_input = at::detail::empty_cpu(input.sizes(), input.scalar_type(), false, format);
  }
  if (output_mask[kGradWeight]) grad_weight = at::detail::empty_cpu({C}, weight_type);
  if (output_mask[kGradBias]) grad_bias = at::detail::empty_cpu({C}, weight_type);
  if (N == 0 || C == 0 || HxW == 0) {
    if (grad_weight.defined()) grad_weight.zero_();
    if (grad_bias.defined()) grad_bias.zero_();
    return {grad_input, grad_weight, grad_bias};
  }
  if (!(grad_input.defined() || grad_weight.defined() || grad_bias.defined())) return {};

  // One channel or one position a sample makes the layouts the same memory.
  const bool channels_last = format != at::MemoryFormat::Contiguous && C > 1 && HxW > 1;
  const auto input_dense = input.expect_contiguous(format);
  const auto grad_out_dense =
      grad_out.sizes() == input.sizes()
          ? grad_out.expect_contiguous(format)
          : c10::MaybeOwned<at::Tensor>::owned(grad_out.reshape(input.sizes()).contiguous(format));
  const auto run = problem.dtype == DType::kFloat64 ? Backward<double> : Backward<float>;
  run(problem, channels_last, *grad_out_dense, *input_dense, mean, rstd, weight, grad_input,
      grad_weight, grad_bias);
  return {std::move(grad_input), std::move(grad_weight), std::move(grad_bias)};
}

const char* isa_in_use() { return Kernels().isa; }

std::string describe_backward_plan(at::ScalarType dtype, bool channels_last, int64_t N, int64_t C,
                                   int64_t HxW, int64_t group, std::array<bool, 3> output_mask,
                                   int64_t threads) {
  TORCH_CHECK(N > 0 && HxW > 0, "Expected N and HxW to be positive, got N=", N, ", HxW=", HxW);
  Problem problem;
  problem.N = N;
  problem.C = C;
  problem.S = HxW;
  problem.G = group;
  problem.dtype = DTypeOf(dtype);
  problem.output_mask = output_mask;
  Machine machine;
  machine.threads = threads;
  machine.pair_elems = 2 * Kernels().vector_bytes / (dtype == at::kDouble ? 8 : 4);
  return ToString(MakeBackwardPlan(problem, channels_last, machine));
}

}  // namespace group_norm_grad::cpu
