// MTE2 reads back from GM what MTE3 may not have written yet.
#include "fault.h"

namespace faults::missing_mte3_mte2_in_gm {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Muls(t.b, t.a, 3.0f, kElems);
  Order<HardEvent::V_MTE3>();
  DataCopy(t.w, t.b, kElems);
  if (!defect) Order<HardEvent::MTE3_MTE2>();
  DataCopy(t.c, t.w, kElems);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.c);
}

const Register kFault({.name = "missing_mte3_mte2_in_gm",
                       .check = "race",
                       .expected = {"RAW", "no MTE3_MTE2 flag"},
                       .kernel = Kernel});

}  // namespace faults::missing_mte3_mte2_in_gm
