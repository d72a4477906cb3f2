// Two stores of one core write the same GM bytes with no barrier between them.
#include "fault.h"

namespace faults::overlapping_stores {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (!defect) PipeBarrier<PIPE_MTE3>();
  DataCopy(t.y[t.first + 64], t.a, 128);
}

const Register kFault({.name = "overlapping_stores",
                       .check = "race",
                       .expected = {"WAW", "no PipeBarrier<PIPE_MTE3>"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::overlapping_stores
