// A queue buffer is read further than its new contents reach.
#include "fault.h"

namespace faults::lanes_of_the_last_tile {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TQue<TPosition::VECIN, 1> queue;
  t.pipe.InitBuffer(queue, 1, 512 * sizeof(float));
  for (uint32_t at = 0; at < kElems; at += 512) {
    const uint32_t elems = defect && at != 0 ? 504 : 512;
    LocalTensor<float> tile = queue.AllocTensor<float>();
    DataCopy(tile, t.x[t.first + at], elems);
    queue.EnQue(tile);
    tile = queue.DeQue<float>();
    Adds(t.b[at], tile, 1.0f, 512);
    queue.FreeTensor(tile);
  }
  t.StoreFromV(t.b);
}

const Register kFault({.name = "lanes_of_the_last_tile",
                       .check = "init",
                       .expected = {"Adds", "TQue VECIN", "which nobody wrote"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::lanes_of_the_last_tile
