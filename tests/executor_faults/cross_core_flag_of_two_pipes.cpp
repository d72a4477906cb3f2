// A flag between cores is set on the vector pipe once, and on the store pipe then.
#include "fault.h"

namespace faults::cross_core_flag_of_two_pipes {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Duplicate(t.b, 1.0f, kElems);
  CrossCoreSetFlag<0, PIPE_V>(0);
  CrossCoreWaitFlag(0);
  t.StoreFromV(t.b);
  const uint16_t flag = defect ? 0 : 1;
  CrossCoreSetFlag<0, PIPE_MTE3>(flag);
  CrossCoreWaitFlag(flag);
}

const Register kFault({.name = "cross_core_flag_of_two_pipes",
                       .check = "sync",
                       .expected = {"CrossCoreSetFlag(0)", "is of pipe MTE3", "of pipe V"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::cross_core_flag_of_two_pipes
