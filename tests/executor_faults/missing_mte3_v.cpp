// The vector unit overwrites a tensor that MTE3 may still be storing.
#include "fault.h"

namespace faults::missing_mte3_v {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  t.StoreFromV(t.b);
  if (!defect) Order<HardEvent::MTE3_V>();
  PipeBarrier<PIPE_V>();
  Adds(t.b, t.a, 2.0f, kElems);
  Order<HardEvent::V_MTE3>(1);
}

const Register kFault({.name = "missing_mte3_v",
                       .check = "race",
                       .expected = {"WAR", "no MTE3_V flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_mte3_v
