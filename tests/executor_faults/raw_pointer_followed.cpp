// The kernel follows a __gm__ pointer itself instead of through a GlobalTensor.
#include "fault.h"

namespace faults::raw_pointer_followed {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  if (defect) *static_cast<volatile uint8_t*>(args.w) = 1;
}

const Register kFault({.name = "raw_pointer_followed",
                       .check = "sync",
                       .expected = {"memory that is not there"},
                       .kernel = Kernel});

}  // namespace faults::raw_pointer_followed
