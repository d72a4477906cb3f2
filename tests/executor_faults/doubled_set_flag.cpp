// A flag is set twice with no wait between.
#include "fault.h"

namespace faults::doubled_set_flag {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  SetFlag<HardEvent::V_MTE3>(0);
  if (defect) SetFlag<HardEvent::V_MTE3>(0);
  WaitFlag<HardEvent::V_MTE3>(0);
  if (defect) WaitFlag<HardEvent::V_MTE3>(0);
  t.Store(t.a);
}

const Register kFault({.name = "doubled_set_flag",
                       .check = "sync",
                       .expected = {"SetFlag<V_MTE3>(0)", "doubles the one of"},
                       .kernel = Kernel});

}  // namespace faults::doubled_set_flag
