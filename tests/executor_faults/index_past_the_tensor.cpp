// GetValue asks for an element behind the tensor.
#include "fault.h"

namespace faults::index_past_the_tensor {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.c);
  Order<HardEvent::MTE2_S>();
  const float value = t.c.GetValue(defect ? kElems : kElems - 1);
  Duplicate(t.b, value, kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "index_past_the_tensor",
                       .check = "bounds",
                       .expected = {"GetValue", "outside its tensor"},
                       .kernel = Kernel});

}  // namespace faults::index_past_the_tensor
