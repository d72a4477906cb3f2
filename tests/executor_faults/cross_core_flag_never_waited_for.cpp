// One core leaves without the wait that belongs to its set.
#include "fault.h"

namespace faults::cross_core_flag_never_waited_for {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  CrossCoreSetFlag<0, PIPE_MTE3>(0);
  if (!defect || GetBlockIdx() != 1) CrossCoreWaitFlag(0);
}

const Register kFault({.name = "cross_core_flag_never_waited_for",
                       .check = "sync",
                       .expected = {"core 1: CrossCoreSetFlag(0)", "never waited for"},
                       .kernel = Kernel,
                       .blocks = 4});

}  // namespace faults::cross_core_flag_never_waited_for
