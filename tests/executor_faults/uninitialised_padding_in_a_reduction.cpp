// A reduction adds up lanes that DataCopyPad left undefined.
#include "fault.h"

namespace faults::uninitialised_padding_in_a_reduction {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  Duplicate(t.b, 0.0f, kElems);
  Order<HardEvent::V_MTE2>();
  DataCopyPad(t.a, t.x[t.first], DataCopyExtParams(1, 61 * sizeof(float), 0, 0, 0),
              DataCopyPadExtParams<float>(!defect, 0, 0, 0.0f));
  Order<HardEvent::MTE2_V>();
  PipeBarrier<PIPE_V>();
  WholeReduceSum(t.b, t.a, 64, 1, 1, 1, 8);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "uninitialised_padding_in_a_reduction",
                       .check = "init",
                       .expected = {"WholeReduceSum", "which nobody wrote"},
                       .kernel = Kernel,
                       .changes_numbers = true});

}  // namespace faults::uninitialised_padding_in_a_reduction
