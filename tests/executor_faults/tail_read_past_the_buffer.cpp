// The last load of an input reads past its end.
#include "fault.h"

namespace faults::tail_read_past_the_buffer {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  DataCopyPad(t.a, t.x[defect ? 8 : 0], DataCopyExtParams(1, kElems * sizeof(float), 0, 0, 0),
              DataCopyPadExtParams<float>(true, 0, 0, 0.0f));
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
}

const Register kFault({.name = "tail_read_past_the_buffer",
                       .check = "bounds",
                       .expected = {"DataCopy(GM to UB)", "outside the buffer of 4096 bytes"},
                       .kernel = Kernel});

}  // namespace faults::tail_read_past_the_buffer
