// The vector unit reads a tensor that MTE2 may still be filling.
#include "fault.h"

namespace faults::missing_mte2_v {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  if (!defect) Order<HardEvent::MTE2_V>();
  Adds(t.b, t.a, 1.0f, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "missing_mte2_v",
                       .check = "race",
                       .expected = {"RAW", "no MTE2_V flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_mte2_v
