// A repeat count does not fit its eight bits.
#include "fault.h"

namespace faults::repeat_over_255 {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TBuf<TPosition::VECIN> large;
  t.pipe.InitBuffer(large, 300 * 256);
  const LocalTensor<float> wide = large.Get<float>();
  Duplicate(wide, 1.0f, 300 * 64);
  PipeBarrier<PIPE_V>();
  const int32_t repeats = defect ? 300 : 255;
  Adds(wide, wide, 1.0f, static_cast<uint64_t>(64), repeats, UnaryRepeatParams(1, 1, 8, 8));
  t.StoreFromV(wide);
}

const Register kFault({.name = "repeat_over_255",
                       .check = "params",
                       .expected = {"repeatTimes 300", "0 to 255"},
                       .kernel = Kernel});

}  // namespace faults::repeat_over_255
