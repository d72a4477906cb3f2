// Counts: what each core moved, issued and waited for. Counts instructions as issued, so that a
// run's schedule does not change them; judges nothing.
#pragma once

#include <vector>

#include "../report.h"

namespace executor {

class Counts : public Observer {
 public:
  void BeginLaunch(const LaunchView& launch) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void OnRegister(const CoreView& core, Where where) override;

  const std::vector<CoreCounts>& cores() const { return cores_; }

 private:
  std::vector<CoreCounts> cores_;
};

}  // namespace executor
