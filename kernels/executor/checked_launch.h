// A launch with every check, the counts and, when asked for, the cost model attached.
// The one way in which problems, fault kernels and measurements are run.
#pragma once

#include <functional>
#include <optional>

#include "core/launch.h"
#include "cost/cost_model.h"
#include "report.h"

namespace executor {

struct Report {
  std::vector<Finding> findings;
  std::vector<CoreCounts> cores;
  CoreCounts total;
  int32_t phases = 0;
  bool completed = false;
  double seconds = 0;  // of the host, not of the device
  std::optional<CostReport> cost;

  bool clean() const { return findings.empty() && completed; }
};

// What the cost model needs to know of the device; without it there is no cost report.
struct CostRequest {
  MemorySystem memory;
  std::string trace_path;  // empty: no trace
};

Report CheckedLaunch(const std::function<void()>& kernel, int32_t blocks, const Device& device,
                     const GlobalMemory& memory, const Options& options, bool checks = true,
                     const std::optional<CostRequest>& cost = std::nullopt);

}  // namespace executor
