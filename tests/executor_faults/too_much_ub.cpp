// The buffers take more UB than the platform lets a kernel use.
#include "fault.h"

namespace faults::too_much_ub {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TBuf<TPosition::VECIN> large;
  t.pipe.InitBuffer(large, defect ? 190 * 1024 : 160 * 1024);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "too_much_ub",
                       .check = "bounds",
                       .expected = {"InitBuffer", "usable bytes"},
                       .kernel = Kernel});

}  // namespace faults::too_much_ub
