// A count is larger than the tensor that the instruction writes.
#include "fault.h"

namespace faults::vector_past_its_buffer {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  Duplicate(t.b, 1.0f, defect ? kElems + 8 : kElems);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "vector_past_its_buffer",
                       .check = "bounds",
                       .expected = {"Duplicate", "writes UB bytes",
                                    "outside its tensor of 4096 bytes"},
                       .kernel = Kernel});

}  // namespace faults::vector_past_its_buffer
