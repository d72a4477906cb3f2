// On 2201 an instruction reads what the one before it may still be writing.
#include "fault.h"

namespace faults::missing_v_barrier {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) PipeBarrier<PIPE_V>();
  Muls(t.c, t.b, 2.0f, kElems);
  t.StoreFromV(t.c);
}

const Register kFault({.name = "missing_v_barrier",
                       .check = "race",
                       .expected = {"RAW", "no PipeBarrier<PIPE_V>"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::missing_v_barrier
