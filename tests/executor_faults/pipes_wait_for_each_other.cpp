// Two pipes each wait for a flag that the other sets later.
#include "fault.h"

namespace faults::pipes_wait_for_each_other {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  if (!defect) SetFlag<HardEvent::MTE2_V>(0);
  WaitFlag<HardEvent::MTE2_V>(0);
  SetFlag<HardEvent::V_MTE2>(0);
  WaitFlag<HardEvent::V_MTE2>(0);
  if (defect) SetFlag<HardEvent::MTE2_V>(0);
  t.StoreFromV(t.a);
}

const Register kFault({.name = "pipes_wait_for_each_other",
                       .check = "sync",
                       .expected = {"waits for ever", "pipe V at WaitFlag<MTE2_V>(0)",
                                    "pipe MTE2 at WaitFlag<V_MTE2>(0)"},
                       .kernel = Kernel});

}  // namespace faults::pipes_wait_for_each_other
