// A load goes to a UB address in the middle of a 32-byte block.
#include "fault.h"

namespace faults::unaligned_load_target {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  PipeBarrier<PIPE_MTE2>();
  DataCopy(t.a[defect ? 2 : 8], t.x[t.first], 8);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
}

const Register kFault({.name = "unaligned_load_target",
                       .check = "params",
                       .expected = {"DataCopy(GM to UB)", "not aligned to 32 bytes"},
                       .kernel = Kernel});

}  // namespace faults::unaligned_load_target
