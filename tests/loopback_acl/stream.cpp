// The worker threads of streams and the counting of events.
#include "stream.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "runtime.h"

namespace loopback_acl {
namespace {

thread_local Stream* running_stream = nullptr;
std::atomic<uint64_t> tasks_run{0};

}  // namespace

uint64_t TasksRun() { return tasks_run.load(); }

Stream::Stream(int32_t device, uint64_t number)
    : device_(device), random_(Config::Get().seed * 1000003 + number) {
  if (Config::Get().asynchronous) worker_ = std::thread([this] { Work(); });
}

Stream::~Stream() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
}

void Stream::Enqueue(std::function<void()> task) {
  if (!worker_.joinable()) {
    std::lock_guard<std::mutex> lock(eager_mutex_);
    Run(task);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Stream::Run(const std::function<void()>& task) {
  Stream* const outer = running_stream;
  running_stream = this;
  tasks_run.fetch_add(1);
  task();
  running_stream = outer;
}

void Stream::Work() {
  SetCurrentDevice(device_);
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    busy_ = true;
    const uint64_t draw = random_();
    lock.unlock();
    const uint32_t longest = Config::Get().max_delay_us;
    // Half of the tasks follow at once: a delay before every one would keep streams in step.
    if (longest > 0 && draw % 2 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(draw / 2 % longest));
    }
    Run(task);
    task = nullptr;  // what it holds must be gone before the stream is seen as idle
    lock.lock();
    busy_ = false;
    if (tasks_.empty()) changed_.notify_all();
  }
}

bool Stream::Synchronize() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return tasks_.empty() && !busy_; });
  return !failed_;
}

bool Stream::Idle() {
  std::lock_guard<std::mutex> lock(mutex_);
  return tasks_.empty() && !busy_;
}

void Stream::FailCurrent() {
  if (running_stream == nullptr) return;
  std::lock_guard<std::mutex> lock(running_stream->mutex_);
  running_stream->failed_ = true;
}

uint64_t Event::Announce() {
  std::lock_guard<std::mutex> lock(mutex_);
  return ++announced_;
}

uint64_t Event::Announced() {
  std::lock_guard<std::mutex> lock(mutex_);
  return announced_;
}

void Event::Complete(uint64_t number) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    completed_ = std::max(completed_, number);
    nanoseconds_ =
        std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  changed_.notify_all();
}

void Event::Wait(uint64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this, number] { return completed_ >= number; });
}

bool Event::Done() {
  std::lock_guard<std::mutex> lock(mutex_);
  return completed_ == announced_;
}

int64_t Event::CompletionNanoseconds() {
  std::lock_guard<std::mutex> lock(mutex_);
  return completed_ == announced_ ? nanoseconds_ : -1;
}

}  // namespace loopback_acl
