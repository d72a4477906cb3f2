#include "csrc/aten_override.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/native_group_norm_backward_native.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "csrc/cpu/register.h"
#include "csrc/npu/loader.h"

namespace group_norm_grad {
namespace {

// PyTorch warns once a process that a kernel is overridden, which is what was asked for here.
class DropOverrideWarning : public c10::WarningHandler {
 public:
  explicit DropOverrideWarning(c10::WarningHandler* next) : next_(next) {}
  void process(const c10::Warning& warning) override {
    if (warning.msg().find("verriding a previously registered kernel") == std::string::npos) {
      next_->process(warning);
    }
  }

 private:
  c10::WarningHandler* next_;
};

// Whether backwards that start now are ours.
std::atomic<bool> active{false};

// Once installed, our kernels stay in the dispatcher's table and pass on to the built-in ones while
// the swap is off: taking an entry out of the table frees what a call in another thread may be
// about to run.
Tensors3 backward_on_cpu(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                         const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N,
                         int64_t C, int64_t HxW, int64_t group, OutputMask output_mask) {
  const auto kernel = active.load(std::memory_order_relaxed)
                          ? backward_cpu
                          : at::native::native_group_norm_backward;
  return kernel(grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask);
}

// torch_npu's kernel, of which nothing but the dispatcher knows; set before backward_on_npu is
// installed.
std::optional<c10::SafeKernelFunction>& built_in_on_npu() {
  static auto* const kernel = new std::optional<c10::SafeKernelFunction>;
  return *kernel;
}

Tensors3 backward_on_npu(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                         const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N,
                         int64_t C, int64_t HxW, int64_t group, OutputMask output_mask) {
  if (active.load(std::memory_order_relaxed)) {
    return npu::backward(grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask);
  }
  const c10::SafeKernelFunction& kernel = *built_in_on_npu();
  torch::jit::Stack stack;
  torch::jit::push(stack, grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask);
  kernel.callBoxed(kernel.opHandle(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), &stack);
  return {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor()};
}

void install(c10::DispatchKey key, decltype(backward_cpu)* kernel) {
  DropOverrideWarning handler(c10::WarningUtils::get_warning_handler());
  const c10::WarningUtils::WarningHandlerGuard guard(&handler);
  // Never destroyed, which is what keeps the kernel installed.
  auto* const library = new torch::Library(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
  library->impl("native_group_norm_backward", kernel);
}

struct State {
  std::mutex mutex;
  bool enabled = false;
  int64_t scopes = 0;
  bool on_cpu = false, on_npu = false;  // installed

  // Must be called with the mutex held.
  void update() {
    const bool wanted = enabled || scopes > 0;
    if (wanted && !on_cpu) {
      install(c10::DispatchKey::CPU, backward_on_cpu);
      on_cpu = true;
    }
    // torch_npu may have been imported since the last call.
    if (wanted && !on_npu && npu::is_available()) {
      built_in_on_npu() = c10::Dispatcher::singleton()
                              .findSchemaOrThrow("aten::native_group_norm_backward", "")
                              .getComputedKernelForDispatchKey(c10::DispatchKey::PrivateUse1);
      install(c10::DispatchKey::PrivateUse1, backward_on_npu);
      on_npu = true;
    }
    active.store(wanted);
  }
};

// Never destroyed: deregistering at process exit would race with PyTorch's own teardown.
State& state() {
  static State* const instance = new State;
  return *instance;
}

template <typename Change>
void change_state(Change change) {
  State& current = state();
  const std::lock_guard<std::mutex> lock(current.mutex);
  change(current);
  current.update();
}

}  // namespace

void enable_override() {
  change_state([](State& current) { current.enabled = true; });
}

void disable_override() {
  change_state([](State& current) { current.enabled = false; });
}

void enter_override() {
  change_state([](State& current) { ++current.scopes; });
}

void leave_override() {
  change_state([](State& current) {
    TORCH_CHECK(current.scopes > 0, "leave_override without enter_override");
    --current.scopes;
  });
}

bool override_active() { return active.load(); }

}  // namespace group_norm_grad
