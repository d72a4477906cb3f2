// Plays the recorded programs of all cores in time: each pipe in order, flags between pipes, and
// transfers that share HBM and L2. One transfer of a pipe at a time; its rate changes whenever
// another one starts or ends.
#include <algorithm>
#include <deque>
#include <queue>

#include "l2.h"
#include "timeline.h"

namespace executor {

namespace {

constexpr double kNever = 1e300;
constexpr int kFlags = 16 * 8;

struct Transfer {
  size_t core = 0;
  Pipe pipe = Pipe::kMte2;
  double left = 1.0;    // of the whole
  double rate = 0;      // per ns
  double alone_ns = 0;  // with the memory system to itself
  double hbm_bytes = 0;
  double bytes = 0;
  double start_ns = 0;
  Op op = Op::kLoad;
};

struct PipeState {
  std::deque<const Step*> queue;
  double free_at = 0;  // of a vector or scalar instruction
  bool transferring = false;
  double results_at = 0;        // when all its results can be seen
  double waits_since = kNever;  // for the other cores
};

// The n-th set of a flag between cores, by all of them.
struct Round {
  size_t cores = 0;      // that have set it
  double passes_at = 0;  // once all have
};

struct CoreState {
  const std::vector<Step>* steps = nullptr;
  size_t next = 0;
  PipeState pipes[kPipes];
  std::deque<double> flags[kFlags];
  size_t cross_core_sets[kCrossCoreFlags] = {};
  size_t cross_core_waits[kCrossCoreFlags] = {};
  size_t syncs = 0;
  bool at_sync = false;
  bool done = false;
};

class Simulation {
 public:
  Simulation(const std::vector<std::vector<Step>>& cores, const CostConstants& constants,
             Corner corner, const MemorySystem& memory, size_t most_slices)
      : constants_(constants),
        corner_(corner),
        memory_(memory),
        hbm_rate_(memory.hbm_bytes_per_ns * constants.hbm_efficiency.At(corner)),
        l2_(memory.l2_bytes),
        most_slices_(most_slices),
        cores_(cores.size()) {
    for (size_t i = 0; i < cores.size(); ++i) {
      cores_[i].steps = &cores[i];
      Wake(i, constants.start_ns.At(corner));
    }
  }

  Simulated Run() {
    for (;;) {
      const double event = events_.empty() ? kNever : events_.top().time;
      if (event == kNever && next_arrival_ == kNever) break;
      if (next_arrival_ <= event) {
        now_ = next_arrival_;
        FinishTransfers();
      } else {
        now_ = event;
        const size_t core = events_.top().core;
        events_.pop();
        Advance(core);
      }
    }
    result_.cores_ns = now_;
    return std::move(result_);
  }

 private:
  struct Event {
    double time;
    size_t core;
    bool operator<(const Event& other) const { return time > other.time; }
  };

  double Cycles(const Constant& constant) const { return constant.At(corner_) / memory_.clock_ghz; }
  void Wake(size_t core, double time) { events_.push({time, core}); }

  void Advance(size_t index) {
    CoreState& core = cores_[index];
    for (bool moved = true; moved;) {
      moved = AdvanceScalar(index, core);
      for (int p = 1; p < kPipes; ++p) moved = AdvancePipe(index, core, p) || moved;
    }
  }

  bool AllIdle(size_t index, const CoreState& core) {
    double until = now_;
    for (int p = 1; p < kPipes; ++p) {
      const PipeState& pipe = core.pipes[p];
      if (!pipe.queue.empty() || pipe.transferring) return false;
      until = std::max({until, pipe.free_at, pipe.results_at});
    }
    if (until > now_) Wake(index, until);
    return until <= now_;
  }

  bool TakeFlag(size_t index, CoreState& core, uint8_t flag) {
    auto& sets = core.flags[flag];
    if (sets.empty()) return false;
    if (sets.front() > now_) {
      Wake(index, sets.front());
      return false;
    }
    sets.pop_front();
    return true;
  }

  void Busy(size_t index, CoreState& core, Pipe pipe, Op op, double ns) {
    PipeState& state = core.pipes[static_cast<size_t>(pipe)];
    state.free_at = now_ + ns;
    result_.busy_ns[static_cast<size_t>(pipe)] += ns;
    StretchOf(core).pipe_ns[static_cast<size_t>(pipe)] += ns;
    if (pipe != Pipe::kS) Record(index, pipe, op, now_, state.free_at);
    Wake(index, state.free_at);
  }

  Stretch& StretchOf(const CoreState& core) {
    if (result_.stretches.size() <= core.syncs) result_.stretches.resize(core.syncs + 1);
    return result_.stretches[core.syncs];
  }

  void Record(size_t core, Pipe pipe, Op op, double start, double end) {
    if (result_.slices.size() < most_slices_) {
      result_.slices.push_back({static_cast<int32_t>(core), pipe, op, start, end});
    }
  }

  bool AdvanceScalar(size_t index, CoreState& core) {
    PipeState& scalar = core.pipes[0];
    if (scalar.free_at > now_ || core.at_sync || core.done) return false;
    if (core.next == core.steps->size()) {
      core.done = true;
      ReleaseSync();
      return false;
    }
    const Step& step = (*core.steps)[core.next];
    double cost = constants_.scalar_call_ns.At(corner_);
    switch (step.kind) {
      case StepKind::kBarrierAll:
        if (!AllIdle(index, core)) return false;
        break;
      case StepKind::kSyncAll:
        if (!AllIdle(index, core)) return false;
        core.at_sync = true;
        scalar.waits_since = now_;
        ++core.syncs;
        ++core.next;
        ReleaseSync();
        return false;
      case StepKind::kScalar:
        if (step.op == Op::kGetValue || step.op == Op::kSetValue) {
          cost = constants_.scalar_access_ns.At(corner_);
        } else if (step.op == Op::kGmGetValue || step.op == Op::kGmSetValue) {
          cost = constants_.scalar_gm_ns.At(corner_);
        }
        break;
      default:
        if (step.pipe != Pipe::kS) {
          core.pipes[static_cast<size_t>(step.pipe)].queue.push_back(&step);
        } else if (step.kind == StepKind::kWaitFlag) {
          if (!TakeFlag(index, core, step.flag)) return false;
        } else if (step.kind == StepKind::kCrossCoreWait) {
          if (!PassCrossCoreWait(index, core, step)) return false;
        } else {
          core.flags[step.flag].push_back(now_ + cost);
          Wake(index, now_ + cost);
        }
    }
    ++core.next;
    Busy(index, core, Pipe::kS, step.op, cost);
    return true;
  }

  bool AdvancePipe(size_t index, CoreState& core, int p) {
    PipeState& pipe = core.pipes[p];
    if (pipe.queue.empty() || pipe.transferring || pipe.free_at > now_) return false;
    const Step& step = *pipe.queue.front();
    switch (step.kind) {
      case StepKind::kSetFlag: {
        const double at = std::max(now_, pipe.results_at);
        core.flags[step.flag].push_back(at);
        if (at > now_) Wake(index, at);
        break;
      }
      case StepKind::kWaitFlag:
        if (!TakeFlag(index, core, step.flag)) return false;
        break;
      case StepKind::kCrossCoreSet:
        SetCrossCoreFlag(index, core, step);
        break;
      case StepKind::kCrossCoreWait:
        if (!PassCrossCoreWait(index, core, step)) return false;
        break;
      case StepKind::kBarrier:
        if (pipe.results_at > now_) {
          Wake(index, pipe.results_at);
          return false;
        }
        if (step.pipe == Pipe::kV) {
          Busy(index, core, Pipe::kV, step.op, Cycles(constants_.v_barrier_cycles));
        }
        break;
      case StepKind::kDma:
        StartTransfer(index, pipe, step);
        break;
      default: {
        const Constant& start =
            step.reduction ? constants_.reduction_start_cycles : constants_.vector_start_cycles;
        Busy(index, core, step.pipe, step.op, Cycles(start) + step.repeats / memory_.clock_ghz);
      }
    }
    pipe.queue.pop_front();
    return true;
  }

  void SetCrossCoreFlag(size_t index, CoreState& core, const Step& step) {
    const double at = std::max(now_, core.pipes[static_cast<size_t>(step.pipe)].results_at);
    Record(index, step.pipe, step.op, now_, at);
    auto& rounds = rounds_[step.flag];
    const size_t number = core.cross_core_sets[step.flag]++;
    if (number == rounds.size()) rounds.emplace_back();
    Round& round = rounds[number];
    round.passes_at = std::max(round.passes_at, at + constants_.sync_all_ns.At(corner_));
    if (++round.cores < cores_.size()) return;
    for (size_t i = 0; i < cores_.size(); ++i) Wake(i, round.passes_at);
  }

  bool PassCrossCoreWait(size_t index, CoreState& core, const Step& step) {
    PipeState& pipe = core.pipes[static_cast<size_t>(step.pipe)];
    pipe.waits_since = std::min(pipe.waits_since, now_);
    const auto& rounds = rounds_[step.flag];
    size_t& number = core.cross_core_waits[step.flag];
    if (number >= rounds.size() || rounds[number].cores < cores_.size()) return false;
    if (rounds[number].passes_at > now_) return false;  // woken then
    Record(index, step.pipe, step.op, pipe.waits_since, now_);
    pipe.waits_since = kNever;
    ++number;
    return true;
  }

  void StartTransfer(size_t index, PipeState& pipe, const Step& step) {
    const L2Cache::Traffic traffic = l2_.Touch(step);
    result_.hbm_read_bytes += static_cast<double>(traffic.hbm_read);
    result_.hbm_write_bytes += static_cast<double>(traffic.hbm_write);
    result_.l2_bytes += static_cast<double>(step.bytes);
    Transfer transfer;
    transfer.core = index;
    transfer.pipe = step.pipe;
    transfer.op = step.op;
    transfer.start_ns = now_;
    transfer.bytes = static_cast<double>(step.bytes);
    // A line is fetched once, but its bursts are as many as the rows ask for.
    transfer.hbm_bytes = static_cast<double>(traffic.hbm_read + traffic.hbm_write);
    if (!step.write && traffic.hbm_read != 0) {
      transfer.hbm_bytes =
          std::max(transfer.hbm_bytes, std::min(transfer.bytes, 2.0 * traffic.hbm_read));
    }
    const double missed = std::min(static_cast<double>(traffic.hbm_read), transfer.bytes);
    const double moving_ns =
        step.write ? transfer.bytes / constants_.core_write_rate.At(corner_)
                   : missed / constants_.core_hbm_rate.At(corner_) +
                         (transfer.bytes - missed) / constants_.core_l2_rate.At(corner_);
    transfer.alone_ns = std::max({constants_.dma_issue_ns.At(corner_),
                                  step.rows * constants_.dma_row_ns.At(corner_), moving_ns});
    Stretch& stretch = StretchOf(cores_[index]);
    stretch.hbm_bytes += static_cast<double>(traffic.hbm_read + traffic.hbm_write);
    stretch.l2_bytes += transfer.bytes;
    stretch.pipe_ns[static_cast<size_t>(step.pipe)] += transfer.alone_ns;
    pipe.transferring = true;
    Settle();
    transfers_.push_back(transfer);
    ShareRates();
  }

  // Takes what the transfers moved since the last change off what they have left.
  void Settle() {
    const double passed = now_ - settled_at_;
    for (Transfer& transfer : transfers_) transfer.left -= transfer.rate * passed;
    settled_at_ = now_;
  }

  void ShareRates() {
    next_arrival_ = kNever;
    double hbm = 0;
    double l2 = 0;
    for (const Transfer& transfer : transfers_) {
      hbm += transfer.hbm_bytes / transfer.alone_ns;
      l2 += transfer.bytes / transfer.alone_ns;
    }
    const double hbm_share = hbm > hbm_rate_ ? hbm_rate_ / hbm : 1.0;
    const double l2_share = l2 > memory_.l2_bytes_per_ns ? memory_.l2_bytes_per_ns / l2 : 1.0;
    for (Transfer& transfer : transfers_) {
      const double share = transfer.hbm_bytes > 0 ? std::min(hbm_share, l2_share) : l2_share;
      transfer.rate = share / transfer.alone_ns;
      next_arrival_ = std::min(next_arrival_, now_ + std::max(transfer.left, 0.0) / transfer.rate);
    }
  }

  void FinishTransfers() {
    Settle();
    std::vector<size_t> woken;
    for (size_t i = 0; i < transfers_.size();) {
      const Transfer& transfer = transfers_[i];
      if (transfer.left > 1e-9) {
        ++i;
        continue;
      }
      PipeState& pipe = cores_[transfer.core].pipes[static_cast<size_t>(transfer.pipe)];
      pipe.transferring = false;
      pipe.results_at = now_ + constants_.dma_latency_ns.At(corner_);
      result_.busy_ns[static_cast<size_t>(transfer.pipe)] += now_ - transfer.start_ns;
      Record(transfer.core, transfer.pipe, transfer.op, transfer.start_ns, now_);
      woken.push_back(transfer.core);
      transfers_[i] = transfers_.back();
      transfers_.pop_back();
    }
    ShareRates();
    for (size_t core : woken) Advance(core);
  }

  void ReleaseSync() {
    for (const CoreState& core : cores_) {
      if (!core.at_sync && !core.done) return;
    }
    for (size_t i = 0; i < cores_.size(); ++i) {
      if (!cores_[i].at_sync) continue;
      cores_[i].at_sync = false;
      PipeState& scalar = cores_[i].pipes[0];
      scalar.free_at = now_ + constants_.sync_all_ns.At(corner_);
      Record(i, Pipe::kS, Op::kSyncAll, scalar.waits_since, scalar.free_at);
      scalar.waits_since = kNever;
      Wake(i, scalar.free_at);
    }
  }

  const CostConstants& constants_;
  Corner corner_;
  MemorySystem memory_;
  double hbm_rate_;
  L2Cache l2_;
  size_t most_slices_;
  std::vector<CoreState> cores_;
  std::priority_queue<Event> events_;
  std::vector<Transfer> transfers_;
  std::vector<Round> rounds_[kCrossCoreFlags];
  double now_ = 0;
  double settled_at_ = 0;
  double next_arrival_ = kNever;  // of the transfer that ends first
  Simulated result_;
};

}  // namespace

Simulated Simulate(const std::vector<std::vector<Step>>& cores, const CostConstants& constants,
                   Corner corner, const MemorySystem& memory, size_t most_slices) {
  return Simulation(cores, constants, corner, memory, most_slices).Run();
}

}  // namespace executor
