// A queue buffer is never given back.
#include "fault.h"

namespace faults::buffer_never_freed {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TQue<TPosition::VECIN, 1> queue;
  t.pipe.InitBuffer(queue, 2, kElems * sizeof(float));
  LocalTensor<float> tile = queue.AllocTensor<float>();
  t.Load(tile);
  queue.EnQue(tile);
  tile = queue.DeQue<float>();
  Adds(t.b, tile, 1.0f, kElems);
  if (!defect) queue.FreeTensor(tile);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "buffer_never_freed",
                       .check = "sync",
                       .expected = {"queue buffer taken at", "is never freed"},
                       .kernel = Kernel});

}  // namespace faults::buffer_never_freed
