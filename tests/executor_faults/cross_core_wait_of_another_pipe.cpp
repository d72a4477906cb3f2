// On 3510 the wait holds back the vector unit, and the load goes on.
#include "fault.h"

namespace faults::cross_core_wait_of_another_pipe {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  CrossCoreSetFlag<0, PIPE_MTE3>(0);
  if (defect) {
    CrossCoreWaitFlag<0, PIPE_V>(0);
  } else {
    CrossCoreWaitFlag<0, PIPE_MTE2>(0);
  }
  const int64_t neighbour = (GetBlockIdx() + 1) % GetBlockNum() * kElems;
  DataCopy(t.b, t.w[neighbour], kElems);
  Order<HardEvent::MTE2_MTE3>(1);
  t.Store(t.b);
}

const Register kFault({.name = "cross_core_wait_of_another_pipe",
                       .check = "race",
                       .expected = {"RAW", "no SyncAll between them"},
                       .kernel = Kernel,
                       .arch = 3510,
                       .blocks = 4});

}  // namespace faults::cross_core_wait_of_another_pipe
