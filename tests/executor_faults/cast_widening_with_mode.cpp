// half to float takes no round mode.
#include "fault.h"

namespace faults::cast_widening_with_mode {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  const LocalTensor<half> narrow = t.b.ReinterpretCast<half>();
  Cast(narrow, t.a, RoundMode::CAST_RINT, kElems);
  PipeBarrier<PIPE_V>();
  Cast(t.c, narrow, defect ? RoundMode::CAST_RINT : RoundMode::CAST_NONE, kElems);
  t.StoreFromV(t.c);
}

const Register kFault({.name = "cast_widening_with_mode",
                       .check = "params",
                       .expected = {"from half to float with CAST_RINT"},
                       .kernel = Kernel});

}  // namespace faults::cast_widening_with_mode
