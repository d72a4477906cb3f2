// DataCopyPad is asked for more padding than a block.
#include "fault.h"

namespace faults::padding_over_32_bytes {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  Duplicate(t.a, 0.0f, kElems);
  Order<HardEvent::V_MTE2>();
  DataCopyPad(t.a, t.x[t.first], DataCopyExtParams(1, 64, 0, 0, 0),
              DataCopyPadExtParams<float>(true, 0, static_cast<uint8_t>(defect ? 12 : 8), 0.0f));
  Order<HardEvent::MTE2_MTE3>();
  t.StoreFromV(t.a);
}

const Register kFault({.name = "padding_over_32_bytes",
                       .check = "params",
                       .expected = {"pads 48 bytes, more than 32"},
                       .kernel = Kernel});

}  // namespace faults::padding_over_32_bytes
