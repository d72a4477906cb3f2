// The kernel ends with atomic addition switched on.
#include "fault.h"

namespace faults::atomic_left {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  PipeBarrier<PIPE_MTE3>();
  SetAtomicAdd<float>();
  t.Store(t.a);
  if (!defect) SetAtomicNone();
}

const Register kFault({.name = "atomic_left",
                       .check = "sync",
                       .expected = {"SetAtomicAdd", "still in force at the end"},
                       .kernel = Kernel});

}  // namespace faults::atomic_left
