// A load reads workspace that no core wrote.
#include "fault.h"

namespace faults::workspace_never_written {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w, t.a, defect ? kElems - 64 : kElems);
  Order<HardEvent::MTE3_MTE2>();
  DataCopy(t.b, t.w, kElems);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.b);
}

const Register kFault({.name = "workspace_never_written",
                       .check = "init",
                       .expected = {"w bytes", "which nobody wrote"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::workspace_never_written
