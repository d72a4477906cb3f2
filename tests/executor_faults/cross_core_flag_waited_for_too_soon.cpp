// Rounds of exchange through two places. A place is written again when all cores have read it,
// which the flag of the round between says; the defect has a single place.
#include "fault.h"

namespace faults::cross_core_flag_waited_for_too_soon {

constexpr uint32_t kPart = 128;

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.Load(t.a);
  Order<HardEvent::MTE2_MTE3>();
  const int64_t cores = GetBlockNum();
  for (int64_t round = 0; round < 8; ++round) {
    const int64_t place = defect ? 0 : round % 2 * cores * kPart;
    DataCopy(t.w[place + GetBlockIdx() * kPart], t.a[round * kPart], kPart);
    CrossCoreSetFlag<0, PIPE_MTE3>(1);
    CrossCoreWaitFlag(1);
    DataCopy(t.b[round * kPart], t.w[place + (GetBlockIdx() + 1) % cores * kPart], kPart);
    Order<HardEvent::MTE2_MTE3>();
  }
  t.Store(t.b);
}

const Register kFault({.name = "cross_core_flag_waited_for_too_soon",
                       .check = "race",
                       .expected = {"reads what core", "no SyncAll between them"},
                       .kernel = Kernel,
                       .blocks = 4,
                       .changes_numbers = true});

}  // namespace faults::cross_core_flag_waited_for_too_soon
