// A call sets a mask of lanes while the mask register counts elements.
#include "fault.h"

namespace faults::mask_in_counter_mode {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  SetMaskCount();
  SetVectorMask<float>(0, kElems);
  Muls<float, false>(t.b, t.a, 2.0f, MASK_PLACEHOLDER, 1, UnaryRepeatParams(1, 1, 8, 8));
  if (defect) Muls(t.c, t.a, 2.0f, static_cast<uint64_t>(64), 1, UnaryRepeatParams(1, 1, 8, 8));
  SetMaskNorm();
  ResetMask();
  t.StoreFromV(t.b);
}

const Register kFault({.name = "mask_in_counter_mode",
                       .check = "params",
                       .expected = {"sets a mask of lanes while SetMaskCount is in force"},
                       .kernel = Kernel});

}  // namespace faults::mask_in_counter_mode
