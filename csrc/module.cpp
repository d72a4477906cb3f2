// The Python module _C: loads the operators, and the few functions that Python needs beside them.
#include <pybind11/pybind11.h>

#include "csrc/aten_override.h"
#include "csrc/cpu/group_norm.h"
#include "csrc/npu/loader.h"

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using namespace group_norm_grad;
  const pybind11::call_guard<pybind11::gil_scoped_release> unlocked;
  m.def("enable_override", &enable_override, unlocked);
  m.def("disable_override", &disable_override, unlocked);
  m.def("enter_override", &enter_override, unlocked);
  m.def("leave_override", &leave_override, unlocked);
  m.def("override_active", &override_active, unlocked);
  m.def("isa_in_use", &cpu::isa_in_use, "The instruction set that the CPU kernels run with.");
  m.def("describe_plan", &cpu::describe_plan,
        "The CPU schedule of a problem: direction, dtype, channels_last, N, C, HxW, group.");
  m.def("describe_npu", &npu::describe, unlocked, "What runs on npu tensors, or why nothing does.");
  m.def("opp_path", &npu::opp_path,
        "The directory for ASCEND_CUSTOM_OPP_PATH; empty if not built.");
}
