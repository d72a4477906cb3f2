// A store goes to an input.
#include "fault.h"

namespace faults::input_written {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (defect) DataCopy(t.x[t.first], t.a, 64);
}

const Register kFault({.name = "input_written",
                       .check = "bounds",
                       .expected = {"x bytes", "which is an input"},
                       .kernel = Kernel});

}  // namespace faults::input_written
