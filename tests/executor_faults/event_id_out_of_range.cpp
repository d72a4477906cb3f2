// An event id is larger than the hardware has.
#include "fault.h"

namespace faults::event_id_out_of_range {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  Order<HardEvent::MTE2_V>(defect ? 8 : 7);
  t.StoreFromV(t.a);
}

const Register kFault({.name = "event_id_out_of_range",
                       .check = "sync",
                       .expected = {"SetFlag<MTE2_V> with event id 8, outside 0 to 7"},
                       .kernel = Kernel});

}  // namespace faults::event_id_out_of_range
