// Parameters: alignment, ranges, types and round modes of every call, by architecture, and overlaps
// the pages forbid.
#pragma once

#include "../report.h"

namespace executor {

class ParamsCheck : public Observer {
 public:
  explicit ParamsCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override { device_ = launch.device; }
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;

 private:
  struct Call {
    const CoreView& core;
    const Instr& instr;
  };

  void Tell(const Call& call, int kind, const std::string& text);
  void CheckFields(const Call& call);
  void CheckUbAlignment(const Call& call, const UbOperand& operand, Which which, uint32_t bytes);
  void CheckVector(const Call& call);
  void CheckTypes(const Call& call);
  void CheckCast(const Call& call);
  void CheckMask(const Call& call);
  void CheckRepeat(const Call& call);
  void CheckOverlap(const Call& call);
  void CheckDma(const Call& call);

  Findings& findings_;
  Device device_;
};

}  // namespace executor
