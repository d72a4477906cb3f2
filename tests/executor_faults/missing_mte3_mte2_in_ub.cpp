// MTE2 overwrites a tensor that MTE3 may still be storing.
#include "fault.h"

namespace faults::missing_mte3_mte2_in_ub {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Muls(t.b, t.a, 3.0f, kElems);
  t.StoreFromV(t.b);
  if (!defect) Order<HardEvent::MTE3_MTE2>();
  Order<HardEvent::V_MTE2>();
  t.Load(t.b);
}

const Register kFault({.name = "missing_mte3_mte2_in_ub",
                       .check = "race",
                       .expected = {"WAR", "no MTE3_MTE2 flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_mte3_mte2_in_ub
