// One call that runs the real kernel under its real plan on the executor, for the Python command,
// the tests and the loopback device. Raw host memory in, raw host memory and a report out; no
// tensor library.
#pragma once

#include <cstdint>

#include "../op_host/plan.h"
#include "../op_host/platform.h"
#include "../problem.h"
#include "checked_launch.h"

namespace executor {

struct ConstBuffer {
  const void* data = nullptr;
  uint64_t bytes = 0;
};

struct MutableBuffer {
  void* data = nullptr;
  uint64_t bytes = 0;
};

// Contiguous, in the dtypes of the Problem. What the problem has not (no weight, a masked output)
// stays null.
struct GroupNormGradBuffers {
  ConstBuffer grad_out;
  ConstBuffer input;
  ConstBuffer mean;
  ConstBuffer rstd;
  ConstBuffer weight;
  MutableBuffer grad_input;
  MutableBuffer grad_weight;
  MutableBuffer grad_bias;
};

struct RunOptions {
  Options launch;
  bool checks = true;
  bool cost = false;
  std::string trace_path;  // of the cost model's timeline; empty: none
};

// Throws std::invalid_argument, before anything is written, when a buffer is missing or too small.
// The workspace is the executor's own, filled with NaN.
Report RunGroupNormGrad(const group_norm_grad::Plan& plan,
                        const group_norm_grad::Platform& platform,
                        const group_norm_grad::Problem& problem,
                        const GroupNormGradBuffers& buffers, const RunOptions& options);

}  // namespace executor
