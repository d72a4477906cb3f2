// The time model: records each core's program and plays it in time. Everything it reports is
// modelled, not measured.
#pragma once

#include <string>
#include <vector>

#include "../report.h"
#include "timeline.h"

namespace executor {

struct CostReport {
  // Modelled microseconds at the fast, nominal and slow end of the constants.
  double total_us[3] = {0, 0, 0};
  double launch_us = 0;
  double cores_us = 0;       // nominal: from the first core's start to the last one's end
  double floor_us = 0;       // HBM traffic at the rate that large transfers reach
  double peak_floor_us = 0;  // HBM traffic at the platform's rate
  // On the cores, for these instructions: the start and the SyncAlls, and between them the HBM
  // traffic, all traffic at L2's rate, or the mean core's busiest pipe, whichever takes longer.
  double least_us = 0;
  // From SyncAll to SyncAll: HBM at the rate of the floor, L2, and the mean core's pipes.
  struct Stretch {
    double hbm_us = 0;
    double l2_us = 0;
    double pipe_us[kPipes] = {0, 0, 0, 0};
  };
  std::vector<Stretch> stretches;
  double hbm_read_bytes = 0;
  double hbm_write_bytes = 0;
  double l2_bytes = 0;
  double share[kPipes] = {0, 0, 0, 0};  // of the cores' time that each pipe is busy
  double conflict_repeats = 0;          // cycles of V beyond one a repeat, for bank conflicts
  std::string bottleneck;
};

class CostModel : public Observer {
 public:
  CostModel(const MemorySystem& memory, int32_t arch);
  void BeginLaunch(const LaunchView& launch) override;
  void OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) override;

  // After the launch. With a path, also writes a Chrome trace (JSON) of the nominal timeline there;
  // throws std::runtime_error when it cannot.
  CostReport Finish(const std::string& trace_path);

 private:
  double CyclesOfRepeat(const Instr& instr) const;  // without bank conflicts
  Step MakeVectorStep(const CoreView& core, const Instr& instr);
  Step MakeDmaStep(const Instr& instr, const AccessList& accesses) const;

  MemorySystem memory_;
  int32_t arch_;
  const CostConstants& constants_;
  std::vector<std::vector<Step>> cores_;
  std::vector<double> conflict_repeats_;  // by core
};

void WriteTrace(const std::string& path, const std::vector<Slice>& slices);

}  // namespace executor
