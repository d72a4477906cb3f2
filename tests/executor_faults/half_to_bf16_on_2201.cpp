// 2201 cannot cast half to bfloat16_t directly.
#include "fault.h"

namespace faults::half_to_bf16_on_2201 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  const LocalTensor<half> narrow = t.b.ReinterpretCast<half>();
  Cast(narrow, t.a, RoundMode::CAST_RINT, kElems);
  PipeBarrier<PIPE_V>();
  if (defect) Cast(t.c.ReinterpretCast<bfloat16_t>(), narrow, RoundMode::CAST_RINT, kElems);
  PipeBarrier<PIPE_V>();
  Cast(t.c, narrow, RoundMode::CAST_NONE, kElems);
  t.StoreFromV(t.c);
}

const Register kFault(
    {.name = "half_to_bf16_on_2201",
     .check = "params",
     .expected = {"from half to bfloat16_t with CAST_RINT is not supported on 2201"},
     .kernel = Kernel});

}  // namespace faults::half_to_bf16_on_2201
