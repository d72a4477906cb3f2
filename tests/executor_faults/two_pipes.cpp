// A second TPipe is made while the first one is alive.
#include "fault.h"

namespace faults::two_pipes {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  if (!defect) t.pipe.Destroy();
  TPipe second;
}

const Register kFault({.name = "two_pipes",
                       .check = "sync",
                       .expected = {"TPipe while another one is alive"},
                       .kernel = Kernel});

}  // namespace faults::two_pipes
