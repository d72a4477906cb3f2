// SyncAll with more blocks than the device has cores.
#include "fault.h"

namespace faults::sync_all_on_too_many_blocks {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (defect) SyncAll();
}

const Register kFault({.name = "sync_all_on_too_many_blocks",
                       .check = "sync",
                       .expected = {"with 4 blocks on 3 vector cores never returns"},
                       .kernel = Kernel,
                       .blocks = 4,
                       .vector_cores = 3});

}  // namespace faults::sync_all_on_too_many_blocks
