// On 2201 an instruction overwrites what the one before it may still be reading.
#include "fault.h"

namespace faults::missing_v_barrier_for_write {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) PipeBarrier<PIPE_V>();
  Duplicate(t.a, 0.0f, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "missing_v_barrier_for_write",
                       .check = "race",
                       .expected = {"WAR", "no PipeBarrier<PIPE_V>"},
                       .kernel = Kernel});

}  // namespace faults::missing_v_barrier_for_write
