// The scalar unit reads a value that MTE2 may not have brought yet.
#include "fault.h"

namespace faults::missing_mte2_s {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  if (!defect) Order<HardEvent::MTE2_S>();
  const float first = t.a.GetValue(1);
  Duplicate(t.b, first, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "missing_mte2_s",
                       .check = "race",
                       .expected = {"RAW", "pipe S GetValue", "no MTE2_S flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_mte2_s
