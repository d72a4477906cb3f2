// Streams and events of the loopback runtime: ordered queues that run on threads of their own, or
// on the caller's. No ACL call is defined here.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

namespace loopback_acl {

// Tasks run strictly in the order of Enqueue. An asynchronous stream sleeps a random, seeded time
// before a task, so that work of different streams, and of the host, interleaves in ever new ways.
class Stream {
 public:
  Stream(int32_t device, uint64_t number);
  ~Stream();  // finishes what was enqueued
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void Enqueue(std::function<void()> task);
  bool Synchronize();  // false when a task of this stream failed
  bool Idle();
  int32_t device() const { return device_; }

  // Marks the stream whose task runs on this thread as failed; nothing outside a task.
  static void FailCurrent();

 private:
  void Work();
  void Run(const std::function<void()>& task);

  const int32_t device_;
  std::mt19937_64 random_;
  std::mutex mutex_;
  std::mutex eager_mutex_;  // keeps eager tasks of one stream from overlapping
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool busy_ = false;
  bool stop_ = false;
  bool failed_ = false;
  std::thread worker_;
};

uint64_t TasksRun();

// A wait looks at the recordings that were enqueued before it: an event recorded again later does
// not prolong it, and one that was never recorded does not block.
class Event {
 public:
  uint64_t Announce();             // at the enqueue of a record: its number
  uint64_t Announced();            // at the enqueue of a wait
  void Complete(uint64_t number);  // when the stream gets there
  void Wait(uint64_t number);
  bool Done();
  int64_t
  CompletionNanoseconds();  // of the last completed record; -1 when there is none or one is pending

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t announced_ = 0;
  uint64_t completed_ = 0;
  int64_t nanoseconds_ = -1;
};

}  // namespace loopback_acl
