// 2201 has no arithmetic on bfloat16_t.
#include "fault.h"

namespace faults::bf16_add_on_2201 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  const LocalTensor<bfloat16_t> narrow = t.b.ReinterpretCast<bfloat16_t>();
  Cast(narrow, t.a, RoundMode::CAST_RINT, kElems);
  PipeBarrier<PIPE_V>();
  if (defect) Add(narrow, narrow, narrow, static_cast<int32_t>(kElems));
  PipeBarrier<PIPE_V>();
  Cast(t.c, narrow, RoundMode::CAST_NONE, kElems);
  t.StoreFromV(t.c);
}

const Register kFault({.name = "bf16_add_on_2201",
                       .check = "params",
                       .expected = {"Add", "on bfloat16_t is not supported on 2201"},
                       .kernel = Kernel});

}  // namespace faults::bf16_add_on_2201
