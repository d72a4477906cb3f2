// The kernel ends in counter mode.
#include "fault.h"

namespace faults::counter_mode_left {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  SetMaskCount();
  SetVectorMask<float>(0, kElems);
  Muls<float, false>(t.b, t.a, 2.0f, MASK_PLACEHOLDER, 1, UnaryRepeatParams(1, 1, 8, 8));
  if (!defect) SetMaskNorm();
  ResetMask();
  t.StoreFromV(t.b);
}

const Register kFault({.name = "counter_mode_left",
                       .check = "sync",
                       .expected = {"SetMaskCount", "still in force at the end"},
                       .kernel = Kernel});

}  // namespace faults::counter_mode_left
