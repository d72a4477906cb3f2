// Two cores store to the same bytes of the output.
#include "fault.h"

namespace faults::two_cores_store_the_same {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  if (defect && GetBlockIdx() == 1) DataCopy(t.y[kElems - 8], t.a, 8);
}

const Register kFault({.name = "two_cores_store_the_same",
                       .check = "race",
                       .expected = {"WAW", "core 0", "core 1"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::two_cores_store_the_same
