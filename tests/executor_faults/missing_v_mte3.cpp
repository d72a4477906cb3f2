// MTE3 stores a tensor that the vector unit may still be writing.
#include "fault.h"

namespace faults::missing_v_mte3 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) Order<HardEvent::V_MTE3>();
  t.Store(t.b);
}

const Register kFault({.name = "missing_v_mte3",
                       .check = "race",
                       .expected = {"RAW", "no V_MTE3 flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_v_mte3
