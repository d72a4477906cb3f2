// Chooses the instruction set, once. No kernel and no tensor here.
#pragma once

#include "kernels/table.h"

namespace group_norm_grad::cpu {

// The table of the widest instruction set that was built and that this processor has, or of the one
// that the environment variable GROUP_NORM_GRAD_ISA names; throws when that one was not built or is
// not there.
const KernelTable& KernelsInUse();

}  // namespace group_norm_grad::cpu
