// A kernel allocates more events of one kind than there are.
#include "fault.h"

namespace faults::event_ids_used_up {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  const int count = defect ? 9 : 8;
  for (int i = 0; i < count; ++i) t.pipe.AllocEventID<HardEvent::MTE2_V>();
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  for (int i = 0; i < count; ++i) {
    t.pipe.ReleaseEventID<HardEvent::MTE2_V>(static_cast<TEventID>(i));
  }
}

const Register kFault({.name = "event_ids_used_up",
                       .check = "sync",
                       .expected = {"no free event id of MTE2_V"},
                       .kernel = Kernel});

}  // namespace faults::event_ids_used_up
