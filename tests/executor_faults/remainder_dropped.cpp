// A count is no multiple of 32 bytes, so that DataCopy leaves out the end.
#include "fault.h"

namespace faults::remainder_dropped {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  DataCopy(t.w, t.a, defect ? 67 : 64);
}

const Register kFault({.name = "remainder_dropped",
                       .check = "params",
                       .expected = {"drops the last 12 of"},
                       .kernel = Kernel});

}  // namespace faults::remainder_dropped
