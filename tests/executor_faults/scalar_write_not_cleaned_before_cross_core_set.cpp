// A scalar write stays in the cache of its core when the others are told of it.
#include "fault.h"

namespace faults::scalar_write_not_cleaned_before_cross_core_set {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  GlobalTensor<float> own = t.w[GetBlockIdx() * 16];
  own.SetValue(0, 1.0f);
  if (!defect) {
    DataCacheCleanAndInvalid<float, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(own);
  }
  CrossCoreSetFlag<0, PIPE_MTE3>(0);
  CrossCoreWaitFlag(0);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
}

const Register kFault({.name = "scalar_write_not_cleaned_before_cross_core_set",
                       .check = "cache",
                       .expected = {"not cleaned out of the data cache before CrossCoreSetFlag"},
                       .kernel = Kernel,
                       .blocks = 2});

}  // namespace faults::scalar_write_not_cleaned_before_cross_core_set
