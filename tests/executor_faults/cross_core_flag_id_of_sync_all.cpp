// The kernel takes a flag between cores that SyncAll is built on.
#include "fault.h"

namespace faults::cross_core_flag_id_of_sync_all {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  const uint16_t flag = defect ? 11 : 10;
  CrossCoreSetFlag<0, PIPE_MTE3>(flag);
  CrossCoreWaitFlag(flag);
}

const Register kFault({.name = "cross_core_flag_id_of_sync_all",
                       .check = "sync",
                       .expected = {"CrossCoreSetFlag with flag id 11, outside 0 to 10"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::cross_core_flag_id_of_sync_all
