// A store leaves the part of the output that SetGlobalBuffer declared.
#include "fault.h"

namespace faults::store_past_the_tensor {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  PipeBarrier<PIPE_MTE3>();
  GlobalTensor<float> part;
  part.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(args.y), 64);
  DataCopy(part[defect ? 32 : 0], t.a[defect ? 32 : 0], 64);
}

const Register kFault({.name = "store_past_the_tensor",
                       .check = "bounds",
                       .expected = {"SetGlobalBuffer gave the tensor"},
                       .kernel = Kernel});

}  // namespace faults::store_past_the_tensor
