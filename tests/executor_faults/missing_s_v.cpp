// The vector unit reads a value that the scalar unit wrote, with no flag between them.
#include "fault.h"

namespace faults::missing_s_v {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Order<HardEvent::V_S>();
  t.a.SetValue(5, 1.0f);
  if (!defect) Order<HardEvent::S_V>();
  Adds(t.b, t.a, 1.0f, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "missing_s_v",
                       .check = "race",
                       .expected = {"RAW", "pipe S SetValue", "no S_V flag"},
                       .kernel = Kernel});

}  // namespace faults::missing_s_v
