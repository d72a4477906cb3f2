// MTE3 stores a value that the scalar unit wrote, with no flag between them.
#include "fault.h"

namespace faults::missing_s_mte3 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  Duplicate(t.a, 0.0f, kElems);
  Order<HardEvent::V_S>();
  t.a.SetValue(7, 1.0f);
  if (!defect) Order<HardEvent::S_MTE3>();
  t.StoreFromV(t.a);
}

const Register kFault({.name = "missing_s_mte3",
                       .check = "race",
                       .expected = {"RAW", "pipe MTE3", "no S_MTE3 flag"},
                       .kernel = Kernel});

}  // namespace faults::missing_s_mte3
