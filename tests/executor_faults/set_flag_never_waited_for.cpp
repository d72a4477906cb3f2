// A flag is still set when the kernel ends.
#include "fault.h"

namespace faults::set_flag_never_waited_for {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  SetFlag<HardEvent::MTE3_V>(3);
  if (!defect) WaitFlag<HardEvent::MTE3_V>(3);
}

const Register kFault({.name = "set_flag_never_waited_for",
                       .check = "sync",
                       .expected = {"SetFlag<MTE3_V>(3)", "never waited for"},
                       .kernel = Kernel});

}  // namespace faults::set_flag_never_waited_for
