// SyncAll in a kernel of a type that has no cross-core scheduler.
#include "fault.h"

namespace faults::sync_all_without_scheduler {

void Kernel(const Args& args, bool defect) {
  KERNEL_TASK_TYPE_DEFAULT(defect ? KERNEL_TYPE_AIV_ONLY : KERNEL_TYPE_MIX_AIV_1_0);
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  SyncAll();
}

const Register kFault({.name = "sync_all_without_scheduler",
                       .check = "sync",
                       .expected = {"needs KERNEL_TYPE_MIX_AIV_1_0"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::sync_all_without_scheduler
