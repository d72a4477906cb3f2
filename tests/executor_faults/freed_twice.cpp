// A queue buffer is given back twice.
#include "fault.h"

namespace faults::freed_twice {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TQue<TPosition::VECIN, 1> queue;
  t.pipe.InitBuffer(queue, 1, kElems * sizeof(float));
  LocalTensor<float> tile = queue.AllocTensor<float>();
  t.Load(tile);
  Order<HardEvent::MTE2_V>();
  Adds(t.b, tile, 1.0f, kElems);
  queue.FreeTensor(tile);
  if (defect) queue.FreeTensor(tile);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "freed_twice",
                       .check = "sync",
                       .expected = {"FreeTensor", "the buffer is free already"},
                       .kernel = Kernel});

}  // namespace faults::freed_twice
