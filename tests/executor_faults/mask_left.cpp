// The kernel ends with lanes masked off.
#include "fault.h"

namespace faults::mask_left {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  SetVectorMask<float>(0, 0xffff);
  Muls<float, false>(t.a, t.a, 2.0f, MASK_PLACEHOLDER, 16, UnaryRepeatParams(1, 1, 8, 8));
  if (!defect) ResetMask();
  t.StoreFromV(t.a);
}

const Register kFault({.name = "mask_left",
                       .check = "sync",
                       .expected = {"the mask of SetVectorMask", "still in force at the end"},
                       .kernel = Kernel});

}  // namespace faults::mask_left
