// A scalar write stays in the cache of its core at SyncAll.
#include "fault.h"

namespace faults::scalar_write_not_cleaned {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  GlobalTensor<float> own = t.w[GetBlockIdx() * 16];
  own.SetValue(0, 1.0f);
  if (!defect) {
    DataCacheCleanAndInvalid<float, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(own);
  }
  SyncAll();
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
}

const Register kFault({.name = "scalar_write_not_cleaned",
                       .check = "cache",
                       .expected = {"GlobalTensor.SetValue", "not cleaned out of the data cache"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::scalar_write_not_cleaned
