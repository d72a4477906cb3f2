// Synchronisation: unpaired or doubled flags, unbalanced queues, waits for all cores that not all
// reach, waits that never end, and mask, atomic or CTRL state left behind for the next kernel.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "../report.h"

namespace executor {

class SyncCheck : public Observer {
 public:
  explicit SyncCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override;
  void BeginCore(const CoreView& core) override;
  void OnInitBuffer(const CoreView& core, const UbBuffer& buffer) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void OnQueue(const CoreView& core, const QueueCall& call) override;
  void OnMisuse(const CoreView& core, const std::string& text, Where where) override;
  void OnStuck(const CoreView& core, const std::string& text, Where where) override;
  void EndCore(const CoreView& core) override;
  void OnDeadlock(const Deadlock& deadlock) override;

 private:
  enum class Holder : uint8_t { kNobody, kKernel, kQueue };
  struct Buffer {
    Holder holder = Holder::kNobody;
    Where where;
  };
  struct Flag {
    std::deque<Where> sets;   // issued and not yet waited for, in program order
    std::deque<Where> waits;  // issued before their set
  };
  struct CrossCoreFlag {
    int32_t outstanding = 0;  // sets less waits
    Pipe pipe = Pipe::kS;     // of its last set, if any
    Where where;
  };
  struct State {
    Flag flags[kEvents][kEventIds];
    std::vector<Buffer> buffers;
    CrossCoreFlag cross_core[kCrossCoreFlags];
  };

  State& StateOf(const CoreView& core) { return *states_[static_cast<size_t>(core.block)]; }
  void CheckFlag(const CoreView& core, const Instr& instr);
  void CheckCrossCoreSet(const CoreView& core, const Instr& instr);
  void CheckAllCores(const CoreView& core, const Instr& instr);
  void CheckRegisters(const CoreView& core);
  void Tell(int kind, Where where, Where other, const CoreView& core, const std::string& text);

  Findings& findings_;
  Device device_;
  int32_t blocks_ = 0;
  uint64_t workspace_bytes_ = 0;
  std::vector<std::unique_ptr<State>> states_;
};

}  // namespace executor
