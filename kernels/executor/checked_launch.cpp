// See checked_launch.h.
#include "checked_launch.h"

#include <chrono>

#include "checks/bounds.h"
#include "checks/cache.h"
#include "checks/counts.h"
#include "checks/init.h"
#include "checks/params.h"
#include "checks/race.h"
#include "checks/sync.h"

namespace executor {

Report CheckedLaunch(const std::function<void()>& kernel, int32_t blocks, const Device& device,
                     const GlobalMemory& memory, const Options& options, bool checks,
                     const std::optional<CostRequest>& cost) {
  const auto start = std::chrono::steady_clock::now();
  Findings findings;
  Counts counts;
  BoundsCheck bounds(findings);
  ParamsCheck params(findings);
  RaceCheck race(findings);
  InitCheck init(findings);
  SyncCheck sync(findings);
  CacheCheck cache(findings);
  std::vector<Observer*> observers = {&counts, &sync};  // without sync a hang would go unreported
  if (checks) observers.insert(observers.end(), {&bounds, &params, &race, &init, &cache});
  std::optional<CostModel> model;
  if (cost) observers.push_back(&model.emplace(cost->memory, device.arch));
  const LaunchResult result = Launch(kernel, blocks, device, memory, options, observers);

  Report report;
  report.findings = findings.Take();
  report.cores = counts.cores();
  for (const CoreCounts& core : report.cores) report.total.Add(core);
  report.phases = result.phases;
  report.completed = result.completed;
  if (model && result.completed) report.cost = model->Finish(cost->trace_path);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace executor
