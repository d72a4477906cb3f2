// The kernel ends with another overflow mode than it began with.
#include "fault.h"

namespace faults::ctrl_left {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  SetCtrlSpr<48, 48>(0);
  Adds(t.b, t.a, 1.0f, kElems);
  if (!defect) SetCtrlSpr<48, 48>(1);
  t.StoreFromV(t.b);
}

const Register kFault({.name = "ctrl_left",
                       .check = "sync",
                       .expected = {"CTRL[48]", "is not restored at the end"},
                       .kernel = Kernel});

}  // namespace faults::ctrl_left
