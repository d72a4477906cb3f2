// The type of SetAtomicAdd is not the one that is stored.
#include "fault.h"

namespace faults::atomic_type_differs {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  PipeBarrier<PIPE_MTE3>();
  if (defect) {
    SetAtomicAdd<half>();
  } else {
    SetAtomicAdd<float>();
  }
  t.Store(t.a);
  SetAtomicNone();
}

const Register kFault({.name = "atomic_type_differs",
                       .check = "params",
                       .expected = {"while SetAtomicAdd<half> is in force"},
                       .kernel = Kernel});

}  // namespace faults::atomic_type_differs
