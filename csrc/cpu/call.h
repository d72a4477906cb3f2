// What the backward and the forward call share around their kernels: dtypes, workspace, threads.
// Nothing of either's own.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "kernels/table.h"
#include "plan.h"

#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
#error "Without OpenMP at::parallel_for is a plain loop: compile with -fopenmp"
#endif

namespace group_norm_grad::cpu {

// Elements below which another thread costs more than it saves.
constexpr int64_t kGrainElems = 16384;

inline DType DTypeOf(at::ScalarType type) {
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

// The size of one of this processor's caches, or otherwise where the system does not tell. Not from
// sysconf, which gives the last caches of all the host's processors together on some.
inline int64_t CacheBytes(int level, int64_t otherwise) {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
  int64_t kibibytes = 0;
  return file >> kibibytes && kibibytes > 0 ? kibibytes << 10 : otherwise;
}

// The caches, and threads as at::parallel_for would use now.
inline Machine ThisMachine(const KernelTable& table, const Problem& problem) {
  static const Machine caches = [] {
    Machine machine;
    machine.l2_bytes = CacheBytes(2, machine.l2_bytes);
    machine.l3_bytes = CacheBytes(3, machine.l3_bytes);
    return machine;
  }();
  Machine machine = caches;
  const int64_t sum_bytes = problem.dtype == DType::kFloat64 ? 8 : 4;
  machine.pair_elems = 2 * table.vector_bytes / sum_bytes;
  machine.masked_steps = table.masked_steps;
  const int64_t numel = problem.N * problem.C * problem.S;
  machine.threads = numel < 2 * kGrainElems || at::in_parallel_region() ? 1 : at::get_num_threads();
  return machine;
}

// Runs kernels over [0, tasks), on as many threads as the tasks are worth.
template <typename Args>
struct Runner {
  const Args& args;
  int64_t threads;
  char* scratch;
  int64_t scratch_bytes;

  void operator()(void (*kernel)(const Args&, int64_t, int64_t, void*), int64_t tasks,
                  int64_t task_elems) const {
    if (threads == 1) return kernel(args, 0, tasks, scratch);
    const int64_t grain = std::max<int64_t>(kGrainElems / std::max<int64_t>(task_elems, 1), 1);
    at::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
      kernel(args, begin, end, scratch + at::get_thread_num() * scratch_bytes);
    });
  }
};

// The kernels that a plan asks for.
template <typename Args>
const Kernels<Args>& KernelsFor(const Plan& plan, const KernelsByLayout<Args>& kernels) {
  if (plan.schedule == Schedule::kFusedFlat) return kernels.flat;
  if (IsChannelsLast(plan.schedule)) return kernels.channels_last;
  return plan.non_temporal ? kernels.rows_non_temporal : kernels.rows;
}

// Runs the passes of a plan. finishes: tasks of the second pass of a split one, each with as many
// chunks; writes: whether the third has something to write.
template <typename Args>
void RunPlan(const Runner<Args>& run, const Kernels<Args>& kernels, int64_t finishes,
             int64_t chunks, bool writes) {
  const Args& args = run.args;
  const Plan& plan = args.plan;
  if (!IsSplit(plan.schedule)) return run(kernels.fused, plan.tasks, plan.task_elems);
  const int64_t chunk_elems = args.N * args.C * args.S / (finishes * chunks);
  run(kernels.sums, finishes * chunks, chunk_elems);
  run(kernels.finish, finishes, args.N * args.C * plan.chunks / finishes);
  if (writes) run(kernels.apply, finishes * chunks, chunk_elems);
}

// The small inputs, as the kernels want them: contiguous and of the dtype A of the sums. They have
// that dtype or the data's, whose kernels are given.
template <typename A>
class AsAcc {
 public:
  AsAcc(const at::Tensor& tensor, const DTypeKernels& kernels, Workspace& workspace)
      : tensor_(tensor.expect_contiguous()),
        kernels_(kernels),
        converts_(tensor.scalar_type() != c10::CppTypeToScalarType<A>::value) {
    if (converts_ || kernels.clean_nans != nullptr) {
      at_ = workspace.Add(tensor.numel() * sizeof(A));
    }
  }
  const A* Get(const Workspace& workspace) const {
    const void* in = tensor_->const_data_ptr();
    A* room = static_cast<A*>(workspace.At(at_));
    if (converts_) {
      kernels_.to_acc(in, tensor_->numel(), room);
      return room;
    }
    if (kernels_.clean_nans != nullptr) in = kernels_.clean_nans(in, tensor_->numel(), room);
    return static_cast<const A*>(in);
  }

 private:
  c10::MaybeOwned<at::Tensor> tensor_;
  const DTypeKernels& kernels_;
  bool converts_;
  int64_t at_ = 0;
};

// A weight or bias a channel, or fill where there is none.
template <typename A>
class ChannelValues {
 public:
  ChannelValues(const std::optional<at::Tensor>& tensor, int64_t C, A fill,
                const DTypeKernels& kernels, Workspace& workspace)
      : C_(C), fill_(fill) {
    if (tensor.has_value() && tensor->defined()) {
      values_.emplace(*tensor, kernels, workspace);
    } else {
      at_ = workspace.Add(C * sizeof(A));
    }
  }
  const A* Get(const Workspace& workspace) const {
    if (values_) return values_->Get(workspace);
    A* out = static_cast<A*>(workspace.At(at_));
    std::fill_n(out, C_, fill_);
    return out;
  }

 private:
  int64_t C_;
  A fill_;
  std::optional<AsAcc<A>> values_;
  int64_t at_ = 0;
};

// A thread's scratch, with a cache line between it and the next one's.
inline int64_t PaddedScratchBytes(int64_t bytes) { return (bytes + 127) / 64 * 64; }

// glibc takes a block of this size from the system at every allocation and gives it back when it is
// freed, so that a large result is always paged in afresh.
constexpr int64_t kFreshBytes = 32 << 20;

// Has a large result paged in by huge pages, where the system offers them: a page is a fault, and
// small ones take longer than the kernel that writes them. Advice only: nothing depends on it.
inline void AdviseHugePages(const at::Tensor& result) {
#ifdef MADV_HUGEPAGE
  if (!result.defined() || static_cast<int64_t>(result.nbytes()) < kFreshBytes) return;
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const auto begin = reinterpret_cast<uintptr_t>(result.mutable_data_ptr());
  const uintptr_t first = (begin + page - 1) / page * page;
  madvise(reinterpret_cast<void*>(first), (begin + result.nbytes() - first) / page * page,
          MADV_HUGEPAGE);
#endif
}

// The layout of the results: input's, if its shape begins with N, C.
inline at::MemoryFormat FormatOf(const at::Tensor& input, int64_t N, int64_t C) {
  return input.dim() >= 2 && input.size(0) == N && input.size(1) == C
             ? input.suggest_memory_format()
             : at::MemoryFormat::Contiguous;
}

// Whether the kernels walk rows of channels. One channel or one position a sample makes both
// layouts the same memory.
inline bool IsChannelsLastWalk(const Problem& problem, at::MemoryFormat format) {
  return format != at::MemoryFormat::Contiguous && problem.C > 1 && problem.S > 1;
}

}  // namespace group_norm_grad::cpu
