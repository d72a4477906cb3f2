// MTE2 overwrites a tensor that the vector unit may still be reading.
#include "fault.h"

namespace faults::missing_v_mte2 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) Order<HardEvent::V_MTE2>();
  DataCopy(t.a, t.x[t.first + kElems / 2], kElems / 2);
  Order<HardEvent::MTE2_V>();
  PipeBarrier<PIPE_V>();
  Add(t.b, t.b, t.a, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "missing_v_mte2",
                       .check = "race",
                       .expected = {"WAR", "no V_MTE2 flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_v_mte2
