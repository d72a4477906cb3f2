// A mask names more lanes than a repeat of floats has.
#include "fault.h"

namespace faults::mask_too_large {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Muls(t.b, t.a, 1.0f, static_cast<uint64_t>(defect ? 128 : 64), 16, UnaryRepeatParams(1, 1, 8, 8));
  t.StoreFromV(t.b);
}

const Register kFault({.name = "mask_too_large",
                       .check = "params",
                       .expected = {"gets mask 128, outside 1 to 64"},
                       .kernel = Kernel});

}  // namespace faults::mask_too_large
