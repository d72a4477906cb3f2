// The counter of a flag between cores holds 15 sets.
#include "fault.h"

namespace faults::cross_core_flag_set_too_often {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  const int sets = defect ? 16 : 15;
  for (int i = 0; i < sets; ++i) CrossCoreSetFlag<0, PIPE_MTE3>(10);
  for (int i = 0; i < sets; ++i) CrossCoreWaitFlag(10);
}

const Register kFault({.name = "cross_core_flag_set_too_often",
                       .check = "sync",
                       .expected = {"CrossCoreSetFlag(10)",
                                    "makes 16 sets that were not waited for"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::cross_core_flag_set_too_often
