// A block length is no multiple of the element.
#include "fault.h"

namespace faults::block_length_splits_an_element {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  t.Store(t.a);
  DataCopyPad(t.w, t.a, DataCopyExtParams(1, defect ? 62 : 64, 0, 0, 0));
}

const Register kFault({.name = "block_length_splits_an_element",
                       .check = "params",
                       .expected = {"gets blockLen 62, not a multiple of its 4-byte elements"},
                       .kernel = Kernel});

}  // namespace faults::block_length_splits_an_element
