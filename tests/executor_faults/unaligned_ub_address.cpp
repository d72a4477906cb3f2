// A vector operand starts in the middle of a 32-byte block.
#include "fault.h"

namespace faults::unaligned_ub_address {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Duplicate(t.b, 0.0f, kElems);
  PipeBarrier<PIPE_V>();
  Adds(t.b, t.a[defect ? 4 : 8], 1.0f, kElems - 8);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "unaligned_ub_address",
                       .check = "params",
                       .expected = {"src0", "not aligned to 32 bytes"},
                       .kernel = Kernel});

}  // namespace faults::unaligned_ub_address
