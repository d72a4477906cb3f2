// DeQue finds nothing in its queue.
#include "fault.h"

namespace faults::deque_from_an_empty_queue {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TQue<TPosition::VECIN, 1> queue;
  t.pipe.InitBuffer(queue, 1, kElems * sizeof(float));
  LocalTensor<float> tile = queue.AllocTensor<float>();
  t.Load(tile);
  if (!defect) queue.EnQue(tile);
  tile = queue.DeQue<float>();
  Adds(t.b, tile, 1.0f, kElems);
  queue.FreeTensor(tile);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "deque_from_an_empty_queue",
                       .check = "sync",
                       .expected = {"DeQue", "the queue is empty"},
                       .kernel = Kernel});

}  // namespace faults::deque_from_an_empty_queue
