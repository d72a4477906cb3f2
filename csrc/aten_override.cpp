#include "csrc/aten_override.h"

#include <c10/util/Exception.h>
#include <torch/library.h>

#include <memory>
#include <mutex>

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

using Kernel = decltype(backward_cpu);

// The kernel of that key is ours while what this returns lives.
std::unique_ptr<torch::Library> register_kernel(c10::DispatchKey key, Kernel* kernel) {
  DropOverrideWarning handler(c10::WarningUtils::get_warning_handler());
  const c10::WarningUtils::WarningHandlerGuard guard(&handler);
  auto library =
      std::make_unique<torch::Library>(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
  library->impl("native_group_norm_backward", kernel);
  return library;
}

struct State {
  std::mutex mutex;
  bool enabled = false;
  int64_t scopes = 0;
  std::unique_ptr<torch::Library> on_cpu, on_npu;

  // Must be called with the mutex held.
  void update() {
    if (!enabled && scopes == 0) {
      on_cpu.reset();
      on_npu.reset();
      return;
    }
    if (!on_cpu) on_cpu = register_kernel(c10::DispatchKey::CPU, backward_cpu);
    // torch_npu may have been imported since the last call.
    if (!on_npu && npu::is_available()) {
      on_npu = register_kernel(c10::DispatchKey::PrivateUse1, npu::backward);
    }
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

bool override_active() {
  State& current = state();
  const std::lock_guard<std::mutex> lock(current.mutex);
  return current.on_cpu != nullptr;
}

}  // namespace group_norm_grad
