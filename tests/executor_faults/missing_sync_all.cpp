// A core reads from the workspace what another core writes, with no SyncAll between them.
#include "fault.h"

namespace faults::missing_sync_all {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  if (!defect) SyncAll();
  const int64_t neighbour = (GetBlockIdx() + 1) % GetBlockNum() * kElems;
  DataCopy(t.b, t.w[neighbour], kElems);
  Order<HardEvent::MTE2_MTE3>(1);
  t.Store(t.b);
}

const Register kFault({.name = "missing_sync_all",
                       .check = "race",
                       .expected = {"RAW", "no SyncAll between them"},
                       .kernel = Kernel,
                       .blocks = 4});

}  // namespace faults::missing_sync_all
