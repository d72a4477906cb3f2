// A repeat stride does not fit its eight bits.
#include "fault.h"

namespace faults::stride_over_255 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TBuf<TPosition::VECIN> large;
  t.pipe.InitBuffer(large, 256 * 32 + 256);
  const LocalTensor<float> wide = large.Get<float>();
  Duplicate(wide, 1.0f, 256 * 8 + 64);
  Duplicate(t.b, 1.0f, kElems);
  PipeBarrier<PIPE_V>();
  const int32_t stride = defect ? 256 : 255;
  Add(t.c, wide, t.b, static_cast<uint64_t>(64), 2, BinaryRepeatParams(1, 1, 1, 8, stride, 8));
  t.StoreFromV(t.b);
}

const Register kFault({.name = "stride_over_255",
                       .check = "params",
                       .expected = {"src0RepStride 256", "0 to 255"},
                       .kernel = Kernel});

}  // namespace faults::stride_over_255
