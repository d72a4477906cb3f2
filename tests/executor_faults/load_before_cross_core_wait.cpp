// A core loads what another one stores between its own set of the flag and the wait for all.
#include "fault.h"

namespace faults::load_before_cross_core_wait {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  CrossCoreSetFlag<0, PIPE_MTE3>(3);
  const int64_t neighbour = (GetBlockIdx() + 1) % GetBlockNum() * kElems;
  if (!defect) CrossCoreWaitFlag(3);
  DataCopy(t.b, t.w[neighbour], kElems);
  if (defect) CrossCoreWaitFlag(3);
  Order<HardEvent::MTE2_MTE3>(1);
  t.Store(t.b);
}

const Register kFault({.name = "load_before_cross_core_wait",
                       .check = "race",
                       .expected = {"RAW", "no SyncAll between them"},
                       .kernel = Kernel,
                       .blocks = 4,
                       .changes_numbers = true});

}  // namespace faults::load_before_cross_core_wait
