// The scalar unit reads a value that the vector unit may not have written yet.
#include "fault.h"

namespace faults::missing_v_s {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) Order<HardEvent::V_S>();
  const float scale = t.b.GetValue(3);
  PipeBarrier<PIPE_V>();
  Muls(t.c, t.b, scale, kElems);
  t.StoreFromV(t.c);
}

const Register kFault({.name = "missing_v_s",
                       .check = "race",
                       .expected = {"RAW", "pipe S GetValue", "no V_S flag"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_v_s
