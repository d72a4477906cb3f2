// One core waits for the flag of all without having set it.
#include "fault.h"

namespace faults::cross_core_flag_not_set {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (!defect || GetBlockIdx() != 2) CrossCoreSetFlag<0, PIPE_MTE3>(4);
  CrossCoreWaitFlag(4);
}

const Register kFault({.name = "cross_core_flag_not_set",
                       .check = "sync",
                       .expected = {"CrossCoreWaitFlag(4)",
                                    "was reached by 4 cores while 0 had ended",
                                    "core 2 sets flag 4 0 times of the 1"},
                       .kernel = Kernel,
                       .blocks = 4});

}  // namespace faults::cross_core_flag_not_set
