// The scalar unit reads through its cache what another core wrote.
#include "fault.h"

namespace faults::stale_scalar_read {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  DataCopy(t.w[t.first], t.a, kElems);
  SyncAll();
  GlobalTensor<float> other = t.w[(GetBlockIdx() + 1) % GetBlockNum() * kElems];
  if (!defect) {
    DataCacheCleanAndInvalid<float, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(other);
  }
  Duplicate(t.b, other.GetValue(2), kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "stale_scalar_read",
                       .check = "cache",
                       .expected = {"GlobalTensor.GetValue", "no DataCacheCleanAndInvalid"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::stale_scalar_read
