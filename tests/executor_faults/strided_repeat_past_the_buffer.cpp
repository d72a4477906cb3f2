// The last repeat of a strided instruction reaches past its operand.
#include "fault.h"

namespace faults::strided_repeat_past_the_buffer {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Duplicate(t.b, 0.0f, kElems);
  PipeBarrier<PIPE_V>();
  Add(t.b, t.a, t.a, static_cast<uint64_t>(64), 4,
      BinaryRepeatParams(1, 1, 1, 8, static_cast<uint8_t>(defect ? 48 : 32), 8));
  t.StoreFromV(t.b);
}

const Register kFault({.name = "strided_repeat_past_the_buffer",
                       .check = "bounds",
                       .expected = {"Add", "outside its tensor"},
                       .kernel = Kernel});

}  // namespace faults::strided_repeat_past_the_buffer
