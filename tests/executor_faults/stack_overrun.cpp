// The kernel recurses until its stack is used up.
#include "fault.h"

namespace faults::stack_overrun {

int Recurse(int depth) {
  volatile char frame[256];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : Recurse(depth - 1) + frame[0];
}

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  Recurse(defect ? 1 << 30 : 3);
}

const Register kFault({.name = "stack_overrun",
                       .check = "sync",
                       .expected = {"memory that is not there"},
                       .kernel = Kernel});

}  // namespace faults::stack_overrun
