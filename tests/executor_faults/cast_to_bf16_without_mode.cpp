// float to bfloat16_t needs a round mode.
#include "fault.h"

namespace faults::cast_to_bf16_without_mode {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  const LocalTensor<bfloat16_t> narrow = t.b.ReinterpretCast<bfloat16_t>();
  Cast(narrow, t.a, defect ? RoundMode::CAST_NONE : RoundMode::CAST_RINT, kElems);
  PipeBarrier<PIPE_V>();
  Cast(t.c, narrow, RoundMode::CAST_NONE, kElems);
  t.StoreFromV(t.c);
}

const Register kFault({.name = "cast_to_bf16_without_mode",
                       .check = "params",
                       .expected = {"from float to bfloat16_t with CAST_NONE"},
                       .kernel = Kernel});

}  // namespace faults::cast_to_bf16_without_mode
