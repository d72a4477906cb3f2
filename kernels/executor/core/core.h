// One vector core: the scalar unit's program and the in-order queues of its pipes, run in any order
// that flags permit. It tells observers what happens and judges nothing; it only refuses to touch
// memory that does not exist.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "footprint.h"
#include "instr.h"
#include "memory.h"
#include "observer.h"
#include "random.h"

namespace executor {

// Thrown through the kernel to unwind it when its core cannot go on.
struct CoreAbort {};

struct Options {
  uint64_t seed = 0;  // 0: program order, every instruction at once
  bool auto_sync = false;
  bool saturate = false;                   // CTRL[48] = 0 at kernel start
  uint64_t max_instructions = 10'000'000;  // of one core; more are taken for a loop without an end
  int32_t threads = 0;                     // host threads; 0: as many as the host has
};

class Core {
 public:
  Core(int32_t block, int32_t blocks, const Device& device, const GlobalMemory& memory,
       const Options& options, const std::vector<Observer*>& observers, std::atomic<bool>& give_up);

  // --- for the Ascend C calls of the kernel, on the scalar pipe ---
  void Issue(Instr instr);
  uint64_t IssueRead(Instr instr);  // GetValue forms: the bits read
  int32_t AddUbBuffer(UbBuffer buffer);
  void ReportQueue(const QueueCall& call);
  void ReportMisuse(const std::string& text, Where where);
  void RegisterChanged(Where where);
  void DeclareCrossCoreScheduler(bool has) { view_.cross_core_scheduler = has; }
  [[noreturn]] void Abort();
  void AbortIfAsked();
  Registers& registers() { return view_.registers; }
  const CoreView& view() const { return view_; }
  const Device& device() const { return device_; }
  bool aborted() const { return aborted_; }
  void* tpipe = nullptr;  // what GetTPipePtr returns

  // --- for the launcher ---
  void Begin();
  void Finish();  // the kernel function returned: run the pipes dry, leave the core
  // How often this core has set a flag between cores, and come to a wait for it.
  uint32_t cross_core_sets(int32_t flag) const {
    return cross_core_sets_[static_cast<size_t>(flag)];
  }
  uint32_t cross_core_waits(int32_t flag) const {
    return cross_core_waits_[static_cast<size_t>(flag)];
  }
  void AskToAbort() { aborted_ = true; }
  void Stuck(const std::string& text, Where where);
  std::function<void(const Instr&)> wait_for_all_cores;  // suspends this core

 private:
  struct Queued {
    Instr instr;
    AccessList accesses;
  };

  std::deque<Queued>& queue(Pipe pipe) { return queues_[static_cast<size_t>(pipe)]; }
  bool Ready(const Instr& instr) const;
  bool Step();  // runs one instruction of a pipe; false when none can run
  bool StepPipe(Pipe pipe);
  bool MaySwap(const std::deque<Queued>& queue) const;
  void Wander();  // lets the pipes advance as the seed pleases
  template <class Condition>
  void RunUntil(const Instr& waiting, Condition condition);
  void Execute(const Instr& instr, AccessList& accesses);
  void Perform(const Instr& instr);
  bool MemoryExists(const AccessList& accesses) const;
  bool PipesAreEmpty() const;
  std::string DescribeHeads() const;
  void ChoosePolicy();

  const Device& device_;
  const GlobalMemory& memory_;
  const Options& options_;
  const std::vector<Observer*>& observers_;
  std::atomic<bool>&
      give_up_;  // a core found a loop without an end; the others need not run theirs
  CoreView view_;
  std::unique_ptr<uint8_t[], void (*)(void*)> ub_;
  std::array<std::deque<Queued>, kPipes> queues_;
  // Sets not yet waited for. The n-th WaitFlag of an id waits for its n-th SetFlag: a pipe may run
  // ahead of the other one, and queues give an id out again as soon as its WaitFlag is issued.
  std::array<std::array<uint32_t, kEventIds>, kEvents> flags_{};
  std::array<uint32_t, kCrossCoreFlags> cross_core_sets_{};
  std::array<uint32_t, kCrossCoreFlags> cross_core_waits_{};
  uint32_t pending_sets_ = 0;  // CrossCoreSetFlag in the queues
  Random random_;
  uint64_t serial_ = 0;
  bool aborted_ = false;
  uint64_t read_bits_ = 0;
  AccessList scratch_;
  // The seeded policy: which pipe goes first, and how far the scalar unit runs ahead. Changed now
  // and then.
  std::array<Pipe, 3> order_{Pipe::kMte2, Pipe::kV, Pipe::kMte3};
  uint32_t eagerness_ = 0;  // of 256: the chance that a pipe steps after an issue
  uint32_t until_change_ = 0;
};

Core& CurrentCore();
void SetCurrentCore(Core* core);

}  // namespace executor
