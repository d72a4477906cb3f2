// A loop of the scalar unit never ends.
#include "fault.h"

namespace faults::loop_without_an_end {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  for (uint32_t i = 0; defect || i < 16; ++i) PipeBarrier<PIPE_V>();
}

const Register kFault({.name = "loop_without_an_end",
                       .check = "sync",
                       .expected = {"instructions without an end"},
                       .kernel = Kernel});

}  // namespace faults::loop_without_an_end
