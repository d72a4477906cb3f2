// A DMA moves more blocks than its field can count.
#include "fault.h"

namespace faults::block_count_too_large {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TBuf<TPosition::VECIN> large;
  t.pipe.InitBuffer(large, 5000 * 32);
  const LocalTensor<float> wide = large.Get<float>();
  Duplicate(wide, 1.0f, 5000 * 8);
  Order<HardEvent::V_MTE3>();
  const uint16_t blocks = defect ? 5000 : 4095;
  DataCopyPad(t.w, wide, DataCopyExtParams(blocks, 4, 0, 0, 0));
  t.Store(wide);
}

const Register kFault({.name = "block_count_too_large",
                       .check = "params",
                       .expected = {"gets blockCount 5000, outside 0 to 4095"},
                       .kernel = Kernel});

}  // namespace faults::block_count_too_large
