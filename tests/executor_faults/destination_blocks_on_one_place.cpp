// All blocks of a repeat are written to the same place.
#include "fault.h"

namespace faults::destination_blocks_on_one_place {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Duplicate(t.b, 0.0f, kElems);
  PipeBarrier<PIPE_V>();
  const int32_t stride = defect ? 0 : 1;
  Adds(t.b, t.a, 1.0f, static_cast<uint64_t>(64), 1, UnaryRepeatParams(stride, 1, 8, 8));
  t.StoreFromV(t.b);
}

const Register kFault({.name = "destination_blocks_on_one_place",
                       .check = "params",
                       .expected = {"gets dstBlkStride 0"},
                       .kernel = Kernel});

}  // namespace faults::destination_blocks_on_one_place
