// The set does not wait for the store, because it is of the load's pipe.
#include "fault.h"

namespace faults::cross_core_set_of_another_pipe {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  if (defect) {
    CrossCoreSetFlag<0, PIPE_MTE2>(0);
  } else {
    CrossCoreSetFlag<0, PIPE_MTE3>(0);
  }
  CrossCoreWaitFlag(0);
  const int64_t neighbour = (GetBlockIdx() + 1) % GetBlockNum() * kElems;
  DataCopy(t.b, t.w[neighbour], kElems);
  Order<HardEvent::MTE2_MTE3>(1);
  t.Store(t.b);
}

const Register kFault({.name = "cross_core_set_of_another_pipe",
                       .check = "race",
                       .expected = {"RAW", "no SyncAll between them"},
                       .kernel = Kernel,
                       .blocks = 4,
                       .changes_numbers = true});

}  // namespace faults::cross_core_set_of_another_pipe
