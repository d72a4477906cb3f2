// See cost_model.h. Recording happens as instructions are issued, so that a run's seed does not
// change the model's time.
#include "cost_model.h"

#include <algorithm>

#include "bank_conflict.h"

namespace executor {

namespace {

constexpr size_t kMostSlices = 400000;  // of the trace; a viewer slows down beyond

bool IsDivision(Op op) {
  return op == Op::kDiv || op == Op::kSqrt || op == Op::kExp || op == Op::kLn;
}

// What the bursts of one row add up to: a long row is cut at multiples of the burst, a short one at
// sectors.
uint64_t BurstBytes(uint64_t low, uint64_t bytes, uint32_t burst) {
  const uint64_t unit = bytes >= burst ? burst : kSectorBytes;
  return ((low + bytes + unit - 1) / unit - low / unit) * unit;
}

const char* PipeWord(Pipe pipe) {
  constexpr const char* kWords[] = {"scalar unit", "vector unit", "MTE2 (GM to UB)",
                                    "MTE3 (UB to GM)"};
  return kWords[static_cast<size_t>(pipe)];
}

}  // namespace

CostModel::CostModel(const MemorySystem& memory, int32_t arch)
    : memory_(memory), arch_(arch), constants_(arch == 3510 ? kCost3510 : kCost2201) {}

void CostModel::BeginLaunch(const LaunchView& launch) {
  cores_.resize(static_cast<size_t>(launch.blocks));
  conflict_repeats_.assign(static_cast<size_t>(launch.blocks), 0.0);
}

double CostModel::CyclesOfRepeat(const Instr& instr) const {
  switch (instr.op) {
    case Op::kMulAddDst:
      return constants_.multiply_add_cycles;
    case Op::kFusedMulAdd:
      return OperandsRead(instr, true) > 2 ? constants_.third_read_cycles
                                           : constants_.fused_multiply_add_cycles;
    case Op::kWholeReduceSum:
      return constants_.whole_reduce_cycles;
    case Op::kBlockReduceSum:
    case Op::kPairReduceSum:
      return constants_.block_reduce_cycles;
    default:
      return IsDivision(instr.op) ? constants_.divide_cycles : 1.0;
  }
}

Step CostModel::MakeVectorStep(const CoreView& core, const Instr& instr) {
  Step step;
  step.kind = StepKind::kVector;
  double repeats = instr.op == Op::kBrcb ? static_cast<double>(std::max<int64_t>(instr.repeat, 0))
                                         : LanesOf(instr).Repeats();
  const double conflict = BankConflictCycles(instr, arch_);
  conflict_repeats_[static_cast<size_t>(core.block)] += repeats * (conflict - 1);
  step.reduction = IsReduction(instr.op);
  repeats *= std::max(conflict, CyclesOfRepeat(instr));
  step.repeats = static_cast<float>(repeats);
  return step;
}

Step CostModel::MakeDmaStep(const Instr& instr, const AccessList& accesses) const {
  Step step;
  step.kind = StepKind::kDma;
  step.write = instr.op == Op::kStore;
  step.bypass_l2 = instr.dma.hint == CacheHint::kDisable;
  step.rows = instr.dma.block_count;
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (accesses[i].space != Space::kGm) continue;
    step.gm = accesses[i];
    step.gm.ForEachRun([&](uint64_t low, uint64_t high) {
      step.bytes += BurstBytes(low, high - low, constants_.burst_bytes);
    });
  }
  return step;
}

void CostModel::OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  Step step;
  if (IsVector(instr.op)) {
    step = MakeVectorStep(core, instr);
  } else if (IsDma(instr.op)) {
    step = MakeDmaStep(instr, accesses);
  } else {
    switch (instr.op) {
      case Op::kSetFlag:
        step.kind = StepKind::kSetFlag;
        break;
      case Op::kWaitFlag:
        step.kind = StepKind::kWaitFlag;
        break;
      case Op::kBarrier:
        step.kind = instr.all_pipes ? StepKind::kBarrierAll : StepKind::kBarrier;
        break;
      case Op::kSyncAll:
        step.kind = StepKind::kSyncAll;
        break;
      case Op::kCrossCoreSet:
        step.kind = StepKind::kCrossCoreSet;
        break;
      case Op::kCrossCoreWait:
        step.kind = StepKind::kCrossCoreWait;
        break;
      case Op::kForget:
        return;
      default:
        step.kind = StepKind::kScalar;
    }
    const bool between_cores = instr.op == Op::kCrossCoreSet || instr.op == Op::kCrossCoreWait;
    step.flag = static_cast<uint8_t>((between_cores ? 0 : instr.event.Index() * kEventIds) +
                                     instr.event_id);
  }
  step.pipe = instr.op == Op::kCrossCoreWait ? instr.event.to : instr.pipe;
  step.op = instr.op;
  cores_[static_cast<size_t>(core.block)].push_back(step);
}

CostReport CostModel::Finish(const std::string& trace_path) {
  CostReport report;
  Simulated nominal;
  for (Corner corner : {Corner::kFast, Corner::kNominal, Corner::kSlow}) {
    const bool keep = corner == Corner::kNominal && !trace_path.empty();
    Simulated run = Simulate(cores_, constants_, corner, memory_, keep ? kMostSlices : 0);
    report.total_us[static_cast<size_t>(corner)] =
        (run.cores_ns + constants_.launch_ns.At(corner)) / 1000;
    if (corner == Corner::kNominal) nominal = std::move(run);
  }
  report.launch_us = constants_.launch_ns.nominal / 1000;
  report.cores_us = nominal.cores_ns / 1000;
  report.hbm_read_bytes = nominal.hbm_read_bytes;
  report.hbm_write_bytes = nominal.hbm_write_bytes;
  report.l2_bytes = nominal.l2_bytes;
  const double hbm_bytes = nominal.hbm_read_bytes + nominal.hbm_write_bytes;
  report.peak_floor_us = hbm_bytes / memory_.hbm_bytes_per_ns / 1000;
  report.floor_us = report.peak_floor_us / constants_.hbm_efficiency.nominal;
  const double hbm_rate = memory_.hbm_bytes_per_ns * constants_.hbm_efficiency.nominal;
  report.least_us = constants_.start_ns.nominal / 1000;
  for (const Stretch& stretch : nominal.stretches) {
    CostReport::Stretch mean{stretch.hbm_bytes / hbm_rate / 1000,
                             stretch.l2_bytes / memory_.l2_bytes_per_ns / 1000};
    double longest = std::max(mean.hbm_us, mean.l2_us);
    for (size_t pipe = 0; pipe < kPipes; ++pipe) {
      mean.pipe_us[pipe] = stretch.pipe_ns[pipe] / static_cast<double>(cores_.size()) / 1000;
      longest = std::max(longest, mean.pipe_us[pipe]);
    }
    report.least_us += longest;
    if (!report.stretches.empty()) report.least_us += constants_.sync_all_ns.nominal / 1000;
    report.stretches.push_back(mean);
  }
  const double time = nominal.cores_ns * static_cast<double>(std::max<size_t>(cores_.size(), 1));
  size_t busiest = 0;
  for (size_t pipe = 0; pipe < kPipes; ++pipe) {
    report.share[pipe] = time > 0 ? nominal.busy_ns[pipe] / time : 0;
    if (report.share[pipe] > report.share[busiest]) busiest = pipe;
  }
  for (double repeats : conflict_repeats_) report.conflict_repeats += repeats;
  report.bottleneck = report.floor_us > 0.8 * report.cores_us ? "HBM"
                      : report.share[busiest] > 0.7           ? PipeWord(static_cast<Pipe>(busiest))
                                                              : "waits between pipes and cores";
  if (!trace_path.empty()) WriteTrace(trace_path, nominal.slices);
  return report;
}

}  // namespace executor
