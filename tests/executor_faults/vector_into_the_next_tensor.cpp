// A count is larger than its tensor, which is followed by another one of the same buffer.
#include "fault.h"

namespace faults::vector_into_the_next_tensor {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  TBuf<TPosition::VECIN> buffer;
  t.pipe.InitBuffer(buffer, 2 * kElems * sizeof(float));
  const LocalTensor<float> first = buffer.GetWithOffset<float>(kElems, 0);
  Duplicate(first, 1.0f, defect ? kElems + 8 : kElems);
  t.StoreFromV(first);
}

const Register kFault({.name = "vector_into_the_next_tensor",
                       .check = "bounds",
                       .expected = {"Duplicate", "outside its tensor of 4096 bytes"},
                       .kernel = Kernel});

}  // namespace faults::vector_into_the_next_tensor
