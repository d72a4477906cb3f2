// One core leaves without the SyncAll that the others wait at.
#include "fault.h"

namespace faults::sync_all_called_unequally {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (!defect || GetBlockIdx() != 2) SyncAll();
}

const Register kFault({.name = "sync_all_called_unequally",
                       .check = "sync",
                       .expected = {"was reached by 3 cores while 1 had ended"},
                       .kernel = Kernel,
                       .blocks = 4});

}  // namespace faults::sync_all_called_unequally
