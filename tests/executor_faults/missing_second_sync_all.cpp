// A core overwrites in the workspace what another core may still be reading.
#include "fault.h"

namespace faults::missing_second_sync_all {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  SyncAll();
  DataCopy(t.b, t.w[(GetBlockIdx() + 1) % GetBlockNum() * kElems], kElems);
  Order<HardEvent::MTE2_MTE3>(1);
  t.Store(t.b);
  if (!defect) SyncAll();
  DataCopy(t.w[t.first], t.b, kElems);
}

const Register kFault({.name = "missing_second_sync_all",
                       .check = "race",
                       .expected = {"no SyncAll between them"},
                       .kernel = Kernel,
                       .blocks = 4});

}  // namespace faults::missing_second_sync_all
