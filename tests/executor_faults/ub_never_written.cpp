// An instruction reads a tensor that nobody filled.
#include "fault.h"

namespace faults::ub_never_written {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  if (!defect) Duplicate(t.c, 1.0f, kElems);
  PipeBarrier<PIPE_V>();
  Add(t.b, t.a, t.c, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "ub_never_written",
                       .check = "init",
                       .expected = {"Add", "UB bytes", "which nobody wrote"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::ub_never_written
