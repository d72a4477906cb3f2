// Races: accesses of two pipes of a core, of neighbours in one pipe, or of two cores, with nothing
// that orders them. Vector clocks per pipe; blocks of 32 B first, and exact
// bytes only where two accesses meet in a block.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "../report.h"

namespace executor {

class RaceCheck : public Observer {
 public:
  explicit RaceCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override;
  void BeginCore(const CoreView& core) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void EndCore(const CoreView& core) override;
  void EndLaunch() override;

 private:
  // By pipe: how many of its instructions are known to be complete; then by flag between cores: how
  // often all cores are known to have set it.
  using Clock = std::array<uint32_t, kPipes + kCrossCoreFlags>;

  struct Past {
    uint32_t number = 0;  // in its pipe
    uint64_t serial = 0;  // in the program
    Op op = Op::kAdd;
    Where where;
    AccessList accesses;
  };
  struct Pending {
    uint64_t serial = 0;
    Clock clock{};
  };
  struct GmRun {
    uint64_t low = 0;
    uint64_t high = 0;
    int32_t core = 0;
    Pipe pipe = Pipe::kS;
    Op op = Op::kAdd;
    bool atomic = false;
    uint32_t number = 0;
    uint64_t serial = 0;
    Clock clock{};  // what its pipe knew
    Where where;
  };
  struct State {
    std::array<Clock, kPipes> clocks{};
    std::array<uint32_t, kPipes> executed{};
    std::array<std::vector<uint32_t>, kPipes>
        writes;  // by block: the last instruction of the pipe that wrote it
    std::array<std::vector<uint32_t>, kPipes> reads;
    std::array<std::deque<Past>, kPipes> past;
    std::array<std::deque<Pending>, kPipes> pending;
    std::array<std::array<std::deque<Clock>, kEventIds>, kEvents> flags;
    // By flag between cores: what was known to be complete at each set, and how often it was waited
    // for.
    std::array<std::vector<Clock>, kCrossCoreFlags> cross_core_sets;
    std::array<uint32_t, kCrossCoreFlags> cross_core_waits{};
    std::array<Clock, kPipes> held_back{};  // what a wait that blocks one pipe tells it
    std::vector<GmRun> gm_reads;
    std::vector<GmRun> gm_writes;
  };

  State& StateOf(const CoreView& core) { return *states_[static_cast<size_t>(core.block)]; }
  bool OrderedWithin(Pipe pipe) const;
  void Synchronise(State& state, const Instr& instr);
  void JoinIssueClock(State& state, const Instr& instr);
  void CheckUb(const CoreView& core, State& state, const Instr& instr, const AccessList& accesses);
  void Explain(const CoreView& core, State& state, const Instr& instr, const AccessList& accesses,
               Pipe other, uint32_t known);
  void RecordUb(State& state, const Instr& instr, const AccessList& accesses);
  void RecordGm(const CoreView& core, State& state, const Instr& instr, const Access& access);
  bool CompareGm(const GmRun& write, const GmRun& other);
  bool OrderedBetween(const GmRun& first, const GmRun& second) const;
  static void PassCrossCoreWait(State& state, const Instr& instr, Clock& clock);

  Findings& findings_;
  const GlobalMemory* memory_ = nullptr;
  Device device_;
  bool auto_sync_ = false;
  std::vector<std::unique_ptr<State>> states_;
};

}  // namespace executor
