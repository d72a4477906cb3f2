// Bounds: UB against the usable size and the operand's own buffer, GM against each buffer and the
// size the tensor declared.
#pragma once

#include "../report.h"

namespace executor {

class BoundsCheck : public Observer {
 public:
  explicit BoundsCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override;
  void OnInitBuffer(const CoreView& core, const UbBuffer& buffer) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) override;

 private:
  void Check(const CoreView& core, const Instr& instr, const Access& access);
  void CheckUb(const CoreView& core, const Instr& instr, const Access& access);
  void CheckGm(const CoreView& core, const Instr& instr, const Access& access);

  Findings& findings_;
  const GlobalMemory* memory_ = nullptr;
  Device device_;
};

}  // namespace executor
