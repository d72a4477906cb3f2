// A queue is asked for more buffers than it has.
#include "fault.h"

namespace faults::no_buffer_left {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TQue<TPosition::VECIN, 2> queue;
  t.pipe.InitBuffer(queue, defect ? 1 : 2, kElems * sizeof(float));
  LocalTensor<float> one = queue.AllocTensor<float>();
  LocalTensor<float> two = queue.AllocTensor<float>();
  t.Load(one);
  t.Load(two);
  Order<HardEvent::MTE2_V>();
  Add(t.b, one, two, kElems);
  queue.FreeTensor(one);
  queue.FreeTensor(two);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "no_buffer_left",
                       .check = "sync",
                       .expected = {"AllocTensor", "every buffer of the queue is in use"},
                       .kernel = Kernel});

}  // namespace faults::no_buffer_left
