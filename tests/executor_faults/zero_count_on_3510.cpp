// 3510 does not promise that a count of zero does nothing.
#include "fault.h"

namespace faults::zero_count_on_3510 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  const int32_t rest = 0;
  if (defect || rest != 0) Adds(t.a, t.a, 1.0f, rest);
  t.StoreFromV(t.a);
}

const Register kFault({.name = "zero_count_on_3510",
                       .check = "params",
                       .expected = {"gets count 0, which 3510 does not promise to ignore"},
                       .kernel = Kernel,
                       .arch = 3510});

}  // namespace faults::zero_count_on_3510
