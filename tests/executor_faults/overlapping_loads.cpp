// Two loads fill the same UB bytes with no barrier between them.
#include "fault.h"

namespace faults::overlapping_loads {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  if (!defect) PipeBarrier<PIPE_MTE2>();
  DataCopy(t.a[kElems / 2], t.x[t.first], kElems / 2);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
}

const Register kFault({.name = "overlapping_loads",
                       .check = "race",
                       .expected = {"WAW", "no PipeBarrier<PIPE_MTE2>"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::overlapping_loads
