// The scalar unit waits for a flag that nobody sets.
#include "fault.h"

namespace faults::wait_for_ever {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  if (!defect) SetFlag<HardEvent::MTE2_S>(2);
  WaitFlag<HardEvent::MTE2_S>(2);
}

const Register kFault({.name = "wait_for_ever",
                       .check = "sync",
                       .expected = {"waits for ever at WaitFlag<MTE2_S>(2)"},
                       .kernel = Kernel});

}  // namespace faults::wait_for_ever
