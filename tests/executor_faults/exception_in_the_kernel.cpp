// The kernel throws, as a bug in its host twin might.
#include "fault.h"

namespace faults::exception_in_the_kernel {

void Kernel(const Args& args, bool defect) {
  Bench t(args);
  t.LoadForV(t.a);
  t.StoreFromV(t.a);
  if (defect) throw std::vector<int>();
}

const Register kFault({.name = "exception_in_the_kernel",
                       .check = "sync",
                       .expected = {"the kernel threw an exception"},
                       .kernel = Kernel});

}  // namespace faults::exception_in_the_kernel
