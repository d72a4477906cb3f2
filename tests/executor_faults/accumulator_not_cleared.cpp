// MulAddDst adds to a tensor that nobody filled.
#include "fault.h"

namespace faults::accumulator_not_cleared {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  if (!defect) Duplicate(t.b, 0.0f, kElems);
  PipeBarrier<PIPE_V>();
  MulAddDst(t.b, t.a, t.a, static_cast<int32_t>(kElems));
  t.StoreFromV(t.b);
}

const Register kFault({.name = "accumulator_not_cleared",
                       .check = "init",
                       .expected = {"MulAddDst", "which nobody wrote"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::accumulator_not_cleared
