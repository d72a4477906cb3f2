// On 2201 data moves between GM and the positions VECIN and VECOUT only.
#include "fault.h"

namespace faults::load_into_veccalc {

template <TPosition position>
void Run(const Args& args) {
  Bench t(args);
  TBuf<position> buffer;
  t.pipe.InitBuffer(buffer, kElems * sizeof(float));
  const LocalTensor<float> loaded = buffer.template Get<float>();
  t.LoadForV(loaded);
  Adds(t.b, loaded, 1.0f, kElems);
  t.StoreFromV(t.b);
}

void Kernel(const Args& args, bool defect) {
  if (defect) {
    Run<TPosition::VECCALC>(args);
  } else {
    Run<TPosition::VECIN>(args);
  }
}

const Register kFault({.name = "load_into_veccalc",
                       .check = "params",
                       .expected = {"moves data to VECCALC"},
                       .kernel = Kernel});

}  // namespace faults::load_into_veccalc
