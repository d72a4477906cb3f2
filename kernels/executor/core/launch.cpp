// Fibers and phases of a launch. Between two waits for all cores, cores cannot see each other, so
// each runs on its own as far as it gets, in an order that the seed chooses.
#include "launch.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "escape.h"

namespace executor {

namespace {

constexpr size_t kStackBytes = 512 * 1024;
constexpr size_t kGuardBytes = 64 * 1024;

// The scalar program of one core on a stack of its own.
class Fiber {
 public:
  Fiber(Core& core, const std::function<void()>& kernel) : core_(core), kernel_(kernel) {}
  ~Fiber() {
    if (stack_ != nullptr) munmap(stack_, kStackBytes + kGuardBytes);
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  enum class State { kNew, kWaiting, kReleased, kDone };
  State state() const { return state_; }
  const Instr& waiting_at() const { return waiting_at_; }
  Core& core() { return core_; }
  void Release() { state_ = State::kReleased; }

  // Runs the core to its next wait for all cores or to its end.
  void Resume() {
    SetCurrentCore(&core_);
    if (state_ == State::kNew) {
      if (!MakeStack()) {
        core_.Stuck("no memory for the core's stack", Where::current());
        state_ = State::kDone;
        return;
      }
      core_.wait_for_all_cores = [this](const Instr& wait) {
        waiting_at_ = wait;
        state_ = State::kWaiting;
        swapcontext(&self_, &caller_);
      };
      getcontext(&self_);
      self_.uc_stack.ss_sp = static_cast<char*>(stack_) + kGuardBytes;
      self_.uc_stack.ss_size = kStackBytes;
      self_.uc_link = &caller_;
      const uintptr_t pointer = reinterpret_cast<uintptr_t>(this);
      makecontext(&self_, reinterpret_cast<void (*)()>(&Fiber::Enter), 2,
                  static_cast<uint32_t>(pointer), static_cast<uint32_t>(pointer >> 32));
    }
    SetEscapePoint(&escape_);
    swapcontext(&caller_, &self_);
    SetEscapePoint(nullptr);
    SetCurrentCore(nullptr);
  }

 private:
  static void Enter(uint32_t low, uint32_t high) {
    reinterpret_cast<Fiber*>(static_cast<uintptr_t>(low) | static_cast<uintptr_t>(high) << 32)
        ->Run();
  }

  void Run() {
    core_.Begin();
    if (sigsetjmp(escape_.jump, 0) == 0) {
      RunKernel();
    } else {
      core_.Stuck("the kernel followed a pointer to memory that is not there, address " +
                      std::to_string(reinterpret_cast<uintptr_t>(escape_.address)),
                  Where::current());
      core_.AskToAbort();
    }
    core_.Finish();
    state_ = State::kDone;
  }

  void RunKernel() {
    try {
      kernel_();
    } catch (const CoreAbort&) {
    } catch (const std::exception& error) {
      core_.Stuck(std::string("the kernel threw an exception: ") + error.what(), Where::current());
      core_.AskToAbort();
    } catch (...) {
      core_.Stuck("the kernel threw an exception", Where::current());
      core_.AskToAbort();
    }
  }

  bool MakeStack() {
    stack_ = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack_ == MAP_FAILED) {
      stack_ = nullptr;
      return false;
    }
    mprotect(stack_, kGuardBytes, PROT_NONE);
    return true;
  }

  Core& core_;
  const std::function<void()>& kernel_;
  State state_ = State::kNew;
  Instr waiting_at_;
  void* stack_ = nullptr;
  ucontext_t self_{};
  ucontext_t caller_{};
  EscapePoint escape_;
};

// Cores of one worker in the order of this phase.
void ResumeAll(const std::vector<Fiber*>& fibers) {
  for (Fiber* fiber : fibers) {
    const bool waits = fiber->state() == Fiber::State::kWaiting;
    if (!waits && fiber->state() != Fiber::State::kDone) fiber->Resume();
  }
}

void Shuffle(std::vector<Fiber*>& fibers, Random& random) {
  for (size_t i = fibers.size(); i > 1; --i) {
    std::swap(fibers[i - 1], fibers[random.Below(static_cast<uint32_t>(i))]);
  }
}

// A core stays on one host thread for the whole launch, because its fiber may hold the address of a
// thread-local.
class Workers {
 public:
  Workers(std::vector<std::vector<Fiber*>>& shares) : shares_(shares) {
    for (size_t i = 1; i < shares_.size(); ++i) {
      threads_.emplace_back([this, i] { Loop(i); });
    }
  }
  ~Workers() {
    round_.store(kStop);
    round_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void RunPhase() {
    busy_.store(static_cast<int32_t>(threads_.size()));
    round_.fetch_add(1);
    round_.notify_all();
    ResumeAll(shares_[0]);
    for (int32_t busy = busy_.load(); busy != 0; busy = busy_.load()) busy_.wait(busy);
  }

 private:
  static constexpr int32_t kStop = -1;

  void Loop(size_t share) {
    const EscapeStack signal_stack;
    for (int32_t seen = 0;;) {
      round_.wait(seen);
      const int32_t round = round_.load();
      if (round == kStop) return;
      if (round == seen) continue;
      seen = round;
      ResumeAll(shares_[share]);
      if (busy_.fetch_sub(1) == 1) busy_.notify_all();
    }
  }

  std::vector<std::vector<Fiber*>>& shares_;
  std::vector<std::thread> threads_;
  std::atomic<int32_t> round_{0};
  std::atomic<int32_t> busy_{0};
};

// The first core that has not set the flag as often as this one waits for it; null if all have.
const Core* Missing(const std::vector<std::unique_ptr<Core>>& cores, Fiber& fiber) {
  const int32_t flag = fiber.waiting_at().event_id;
  for (const auto& core : cores) {
    if (core->cross_core_sets(flag) < fiber.core().cross_core_waits(flag)) return core.get();
  }
  return nullptr;
}

Deadlock Describe(const std::vector<std::unique_ptr<Core>>& cores,
                  const std::vector<Fiber*>& waiting) {
  const Instr& wait = waiting.front()->waiting_at();
  const Core& missing = *Missing(cores, *waiting.front());
  Deadlock deadlock;
  deadlock.wait = wait;
  for (Fiber* fiber : waiting) {
    const Instr& other = fiber->waiting_at();
    if (other.op == wait.op && other.event_id == wait.event_id) ++deadlock.waiting;
  }
  deadlock.ended = static_cast<int32_t>(cores.size() - waiting.size());
  deadlock.core = missing.view().block;
  deadlock.sets = missing.cross_core_sets(wait.event_id);
  deadlock.awaited = waiting.front()->core().cross_core_waits(wait.event_id);
  return deadlock;
}

}  // namespace

LaunchResult Launch(const std::function<void()>& kernel, int32_t blocks, const Device& device,
                    const GlobalMemory& memory, const Options& options,
                    const std::vector<Observer*>& observers) {
  LaunchResult result;
  const EscapeHandlers handlers;
  const EscapeStack signal_stack;
  for (Observer* observer : observers) {
    observer->BeginLaunch({device, memory, blocks, options.auto_sync});
  }
  std::atomic<bool> give_up{false};
  std::vector<std::unique_ptr<Core>> cores;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> order;
  for (int32_t block = 0; block < blocks; ++block) {
    cores.push_back(
        std::make_unique<Core>(block, blocks, device, memory, options, observers, give_up));
    fibers.push_back(std::make_unique<Fiber>(*cores.back(), kernel));
    order.push_back(fibers.back().get());
  }
  Random random(options.seed);
  if (options.seed != 0) Shuffle(order, random);
  const uint32_t host_threads = std::max(1u, std::thread::hardware_concurrency());
  const size_t threads =
      std::clamp<size_t>(options.threads > 0 ? static_cast<size_t>(options.threads) : host_threads,
                         1, std::max<size_t>(order.size(), 1));
  std::vector<std::vector<Fiber*>> shares(threads);
  for (size_t i = 0; i < order.size(); ++i) shares[i % threads].push_back(order[i]);

  Workers workers(shares);
  for (;;) {
    workers.RunPhase();
    ++result.phases;
    std::vector<Fiber*> waiting, passing;
    for (const auto& fiber : fibers) {
      if (fiber->state() != Fiber::State::kWaiting) continue;
      waiting.push_back(fiber.get());
      if (Missing(cores, *fiber) == nullptr) passing.push_back(fiber.get());
    }
    if (waiting.empty()) break;
    if (passing.empty()) {  // these cores would wait for ever; unwind them
      const Deadlock deadlock = Describe(cores, waiting);
      for (Observer* observer : observers) observer->OnDeadlock(deadlock);
      for (const auto& core : cores) core->AskToAbort();
      for (Fiber* fiber : waiting) fiber->Release();
      workers.RunPhase();
      break;
    }
    for (Fiber* fiber : passing) fiber->Release();
    if (options.seed != 0) {
      for (auto& share : shares) Shuffle(share, random);
    }
  }
  result.completed =
      std::none_of(cores.begin(), cores.end(), [](const auto& core) { return core->aborted(); });
  for (Observer* observer : observers) observer->EndLaunch();
  return result;
}

}  // namespace executor
