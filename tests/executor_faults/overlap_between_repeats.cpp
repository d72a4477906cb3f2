// A repeat reads what the repeat before it writes.
#include "fault.h"

namespace faults::overlap_between_repeats {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Adds(t.a[defect ? 64 : 512], t.a, 1.0f, static_cast<uint64_t>(64), 8,
       UnaryRepeatParams(1, 1, 8, 8));
  t.StoreFromV(t.a);
}

const Register kFault({.name = "overlap_between_repeats",
                       .check = "params",
                       .expected = {"writes in one repeat what src0 reads in a later one"},
                       .kernel = Kernel});

}  // namespace faults::overlap_between_repeats
