// The plan: how one problem is cut for one platform. A pure function; it launches nothing and
// allocates no device memory.
#pragma once

#include <cstdint>

#include "../op_kernel/tiling.h"
#include "../problem.h"
#include "platform.h"

namespace group_norm_grad {

struct Plan {
  Schedule schedule = Schedule::kNothing;
  int32_t blocks = 0;  // vector cores to launch; 0: nothing to launch
  int64_t workspace_bytes =
      0;  // never 0 when blocks is not 0: mixed launches want one; need not be zeroed
  GroupNormGradTiling tiling{};
};

// The problem must have passed the checks of problem.h, with dtype float32, float16 or bfloat16.
// Throws std::invalid_argument for a dtype that the kernel has not, and std::length_error when the
// workspace would not fit in 64 bits.
Plan MakePlan(const Problem& problem, const Platform& platform);

constexpr const char* Name(Schedule schedule) {
  switch (schedule) {
    case Schedule::kNothing:
      return "nothing";
    case Schedule::kZeroFill:
      return "zero fill";
    case Schedule::kGroupTiles:
      return "group tiles";
    case Schedule::kStreamedGroup:
      return "streamed group";
    case Schedule::kSplitGroup:
      return "split group";
  }
  return "?";
}

}  // namespace group_norm_grad
