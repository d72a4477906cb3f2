// See escape.h. The handler does nothing but a jump, and leaves the fault to whoever handled it
// before when it is not ours.
#include "escape.h"

#include <signal.h>
#include <sys/mman.h>

#include <mutex>

namespace executor {

namespace {

constexpr size_t kSignalStackBytes = 64 * 1024;

thread_local EscapePoint* escape_point = nullptr;

std::mutex installed_mutex;
int installed = 0;  // launches under way
struct sigaction before_segv;
struct sigaction before_bus;

void Handle(int signal, siginfo_t* info, void*) {
  if (escape_point != nullptr) {
    escape_point->address = info->si_addr;
    siglongjmp(escape_point->jump, 1);
  }
  sigaction(signal, signal == SIGBUS ? &before_bus : &before_segv, nullptr);  // and fault again
}

}  // namespace

EscapeHandlers::EscapeHandlers() {
  const std::lock_guard<std::mutex> lock(installed_mutex);
  if (installed++ != 0) return;
  struct sigaction ours = {};
  ours.sa_sigaction = &Handle;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  sigaction(SIGSEGV, &ours, &before_segv);
  sigaction(SIGBUS, &ours, &before_bus);
}

EscapeHandlers::~EscapeHandlers() {
  const std::lock_guard<std::mutex> lock(installed_mutex);
  if (--installed != 0) return;
  sigaction(SIGSEGV, &before_segv, nullptr);
  sigaction(SIGBUS, &before_bus, nullptr);
}

EscapeStack::EscapeStack() {
  stack_t current = {};
  sigaltstack(nullptr, &current);
  if ((current.ss_flags & SS_DISABLE) == 0) return;  // the thread has one
  void* memory =
      mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  memory_ = memory;
  stack_t ours = {};
  ours.ss_sp = memory_;
  ours.ss_size = kSignalStackBytes;
  sigaltstack(&ours, nullptr);
}

EscapeStack::~EscapeStack() {
  if (memory_ == nullptr) return;
  stack_t off = {};
  off.ss_flags = SS_DISABLE;
  sigaltstack(&off, nullptr);
  munmap(memory_, kSignalStackBytes);
}

__attribute__((noinline)) void SetEscapePoint(EscapePoint* point) { escape_point = point; }

}  // namespace executor
