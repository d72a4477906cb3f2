// An event id is allocated and never given back.
#include "fault.h"

namespace faults::event_id_not_released {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  const TEventID id = t.pipe.AllocEventID<HardEvent::MTE2_V>();
  t.Load(t.a);
  Order<HardEvent::MTE2_V>(id);
  t.StoreFromV(t.a);
  if (!defect) t.pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
}

const Register kFault({.name = "event_id_not_released",
                       .check = "sync",
                       .expected = {"AllocEventID<MTE2_V> has no ReleaseEventID"},
                       .kernel = Kernel});

}  // namespace faults::event_id_not_released
