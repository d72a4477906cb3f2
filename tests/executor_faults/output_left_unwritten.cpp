// The kernel leaves the end of its output unwritten.
#include "fault.h"

namespace faults::output_left_unwritten {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.y[t.first], t.a, defect ? kElems - 64 : kElems);
}

const Register kFault({.name = "output_left_unwritten",
                       .check = "init",
                       .expected = {"output y", "256 of 4096 bytes were never written"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::output_left_unwritten
