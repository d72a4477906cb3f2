// The scalar unit's data cache: scalar reads of GM that may be stale, and scalar writes that no
// other core can see.
#pragma once

#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../report.h"

namespace executor {

class CacheCheck : public Observer {
 public:
  explicit CacheCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override;
  void BeginCore(const CoreView& core) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) override;

 private:
  struct State {
    std::unordered_set<uint64_t> fresh;  // lines invalidated since anyone may have written them
    std::unordered_map<uint64_t, Where> dirty;  // lines written by the scalar unit and not cleaned
    bool all_fresh = false;
    std::unordered_set<uint64_t> stored_since;  // while all_fresh: lines stored by MTE3 afterwards
  };

  bool IsShared(uint64_t address) const;
  void Read(const CoreView& core, State& state, const Instr& instr);
  void Clean(State& state, const Instr& instr);

  Findings& findings_;
  const GlobalMemory* memory_ = nullptr;
  std::vector<std::unique_ptr<State>> states_;
};

}  // namespace executor
