// Source and destination of one repeat share some of their bytes.
#include "fault.h"

namespace faults::overlap_within_a_repeat {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.a[defect ? 32 : 64], t.a, 1.0f, static_cast<uint64_t>(64), 1,
       UnaryRepeatParams(1, 1, 8, 8));
  t.StoreFromV(t.a);
}

const Register kFault({.name = "overlap_within_a_repeat",
                       .check = "params",
                       .expected = {"overlapping in part within a repeat"},
                       .kernel = Kernel});

}  // namespace faults::overlap_within_a_repeat
