// Two cores write neighbouring values of one cache line with the scalar unit.
#include "fault.h"

namespace faults::two_cores_write_one_line {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  GlobalTensor<float> own = t.w[GetBlockIdx() * (defect ? 1 : 16)];
  own.SetValue(0, 1.0f);
  DataCacheCleanAndInvalid<float, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(own);
}

const Register kFault({.name = "two_cores_write_one_line",
                       .check = "race",
                       .expected = {"WAW", "GlobalTensor.SetValue", "no SyncAll"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::two_cores_write_one_line
