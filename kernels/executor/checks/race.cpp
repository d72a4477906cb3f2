// See race.h. Inside a core each access is judged when it executes; GM accesses are compared at the
// end.
#include "race.h"

#include <algorithm>

namespace executor {

namespace {

constexpr char kCheck[] = "race";
constexpr uint64_t kCacheLineBytes = 64;  // of the scalar unit's data cache
constexpr size_t kPastKept = 2048;  // instructions of a pipe that a race can still be traced to
constexpr int kMostCompared = 64;   // of the unordered writes that one access meets
enum Kind { kUb, kGmWithin, kGmBetween };

size_t Index(Pipe pipe) { return static_cast<size_t>(pipe); }

template <class Clock>
void Join(Clock& into, const Clock& from) {
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

uint32_t MaxOver(const std::vector<uint32_t>& blocks, uint64_t low, uint64_t high) {
  const uint64_t first = low / kBlockBytes;
  const uint64_t last = (high + kBlockBytes - 1) / kBlockBytes;
  uint32_t most = 0;
  for (uint64_t b = first; b < last; ++b) most = std::max(most, blocks[b]);
  return most;
}

bool RunsMeet(const Access& left, const Access& right) {
  if (left.Low() >= right.High() || right.Low() >= left.High()) return false;
  if (left.IsSingleRun() && right.IsSingleRun()) return true;
  bool meet = false;
  left.ForEachRun([&](uint64_t low, uint64_t high) {
    if (meet || low >= right.High() || right.Low() >= high) return;
    right.ForEachRun([&](uint64_t other_low, uint64_t other_high) {
      meet = meet || (low < other_high && other_low < high);
    });
  });
  return meet;
}

const char* Hazard(bool earlier_writes, bool later_writes) {
  return earlier_writes ? (later_writes ? "WAW" : "RAW") : "WAR";
}

const char* Did(bool writes) { return writes ? "writes" : "reads"; }

struct Side {
  Pipe pipe;
  Op op;
  Where where;
  bool writes;
};

std::string Text(const Side& side) {
  return std::string("pipe ") + Name(side.pipe) + " " + Name(side.op) + " (" + Place(side.where) +
         ") " + Did(side.writes);
}

std::string Missing(Pipe from, Pipe to) {
  return from == to ? std::string("PipeBarrier<PIPE_") + Name(from) + ">"
                    : Name(Event{from, to}) + " flag";
}

}  // namespace

void RaceCheck::BeginLaunch(const LaunchView& launch) {
  memory_ = &launch.memory;
  device_ = launch.device;
  auto_sync_ = launch.auto_sync;
  states_.resize(static_cast<size_t>(launch.blocks));
}

void RaceCheck::BeginCore(const CoreView& core) {
  auto state = std::make_unique<State>();
  for (size_t pipe = 0; pipe < kPipes; ++pipe) {
    state->writes[pipe].assign(kMostUbBytes / kBlockBytes, 0);
    state->reads[pipe].assign(kMostUbBytes / kBlockBytes, 0);
  }
  states_[static_cast<size_t>(core.block)] = std::move(state);
}

bool RaceCheck::OrderedWithin(Pipe pipe) const {
  return pipe == Pipe::kS || (pipe == Pipe::kV && (device_.arch == 3510 || auto_sync_));
}

// What the scalar unit waited for before it issued an instruction is complete when that one starts.
// The scalar unit's own accesses are not: a pipe sees those only behind a flag.
void RaceCheck::OnIssue(const CoreView& core, const Instr& instr, const AccessList&) {
  if (instr.pipe == Pipe::kS) return;
  State& state = StateOf(core);
  Clock clock = state.clocks[Index(Pipe::kS)];
  clock[Index(Pipe::kS)] = 0;
  Join(clock, state.held_back[Index(instr.pipe)]);
  state.pending[Index(instr.pipe)].push_back({instr.serial, clock});
}

void RaceCheck::JoinIssueClock(State& state, const Instr& instr) {
  if (instr.pipe == Pipe::kS) return;
  auto& pending = state.pending[Index(instr.pipe)];
  const auto at = std::find_if(pending.begin(), pending.end(),
                               [&](const Pending& each) { return each.serial == instr.serial; });
  if (at == pending.end()) return;
  Join(state.clocks[Index(instr.pipe)], at->clock);
  pending.erase(at);
}

void RaceCheck::Synchronise(State& state, const Instr& instr) {
  Clock& clock = state.clocks[Index(instr.pipe)];
  switch (instr.op) {
    case Op::kSetFlag: {
      Clock sent = clock;
      sent[Index(instr.pipe)] = state.executed[Index(instr.pipe)];
      state.flags[static_cast<size_t>(instr.event.Index())][static_cast<size_t>(instr.event_id)]
          .push_back(sent);
      break;
    }
    case Op::kWaitFlag: {
      auto& sent =
          state
              .flags[static_cast<size_t>(instr.event.Index())][static_cast<size_t>(instr.event_id)];
      Join(clock, sent.front());
      sent.pop_front();
      break;
    }
    case Op::kCrossCoreSet: {
      Clock sent = clock;
      sent[Index(instr.pipe)] = state.executed[Index(instr.pipe)];
      state.cross_core_sets[static_cast<size_t>(instr.event_id)].push_back(sent);
      break;
    }
    case Op::kCrossCoreWait: {
      const Pipe blocked = instr.event.to;
      PassCrossCoreWait(state, instr,
                        blocked == Pipe::kS ? clock : state.held_back[Index(blocked)]);
      break;
    }
    case Op::kBarrier:
    case Op::kSyncAll:
      if (instr.all_pipes) {
        Clock all = clock;
        for (const Clock& each : state.clocks) Join(all, each);
        for (const Clock& each : state.held_back) Join(all, each);
        std::copy(state.executed.begin(), state.executed.end(), all.begin());
        if (instr.op == Op::kSyncAll) {
          state.cross_core_sets[static_cast<size_t>(instr.event_id)].push_back(all);
          PassCrossCoreWait(state, instr, all);
        }
        state.clocks.fill(all);
      } else {
        clock[Index(instr.pipe)] = state.executed[Index(instr.pipe)];
      }
      break;
    default:
      break;
  }
}

void RaceCheck::OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  State& state = StateOf(core);
  JoinIssueClock(state, instr);
  if (instr.op == Op::kForget) return;
  if (accesses.size() == 0) return Synchronise(state, instr);
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (accesses[i].space == Space::kUb && accesses[i].High() > kMostUbBytes) return;
  }
  const uint32_t number = ++state.executed[Index(instr.pipe)];
  if (OrderedWithin(instr.pipe)) state.clocks[Index(instr.pipe)][Index(instr.pipe)] = number - 1;
  CheckUb(core, state, instr, accesses);
  RecordUb(state, instr, accesses);
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (accesses[i].space == Space::kGm) RecordGm(core, state, instr, accesses[i]);
  }
}

void RaceCheck::CheckUb(const CoreView& core, State& state, const Instr& instr,
                        const AccessList& accesses) {
  const Clock& clock = state.clocks[Index(instr.pipe)];
  for (size_t p = 0; p < kPipes; ++p) {
    const uint32_t done = state.executed[p] - (p == Index(instr.pipe) ? 1 : 0);
    if (clock[p] >= done) continue;  // everything of that pipe is known to be complete
    bool suspect = false;
    for (size_t i = 0; i < accesses.size() && !suspect; ++i) {
      const Access& access = accesses[i];
      if (access.space != Space::kUb) continue;
      access.ForEachRun([&](uint64_t low, uint64_t high) {
        suspect = suspect || MaxOver(state.writes[p], low, high) > clock[p] ||
                  (access.write && MaxOver(state.reads[p], low, high) > clock[p]);
      });
    }
    if (suspect) Explain(core, state, instr, accesses, static_cast<Pipe>(p), clock[p]);
  }
}

void RaceCheck::Explain(const CoreView& core, State& state, const Instr& instr,
                        const AccessList& accesses, Pipe other, uint32_t known) {
  const auto& past = state.past[Index(other)];
  for (auto at = past.rbegin(); at != past.rend() && at->number > known; ++at) {
    for (size_t i = 0; i < accesses.size(); ++i) {
      for (size_t j = 0; j < at->accesses.size(); ++j) {
        const Access& now = accesses[i];
        const Access& then = at->accesses[j];
        if (now.space != Space::kUb || then.space != Space::kUb) continue;
        if ((!now.write && !then.write) || !RunsMeet(now, then)) continue;
        if (!findings_.IsNew(kCheck, kUb, instr.where, at->where)) return;
        const uint64_t low = std::max(now.Low(), then.Low());
        const uint64_t high = std::min(now.High(), then.High());
        // Named in program order, whichever of the two the schedule ran first.
        Side first{other, at->op, at->where, then.write};
        Side second{instr.pipe, instr.op, instr.where, now.write};
        if (at->serial > instr.serial) std::swap(first, second);
        findings_.Add(kCheck, std::string(Hazard(first.writes, second.writes)) + " on " +
                                  CoreText(core) + ": " + Text(second) + " " +
                                  UbText(core, OperandOf(instr, now.which).buffer, low, high) +
                                  " that " + Text(first) + ", with no " +
                                  Missing(first.pipe, second.pipe) + " between them");
        return;
      }
    }
  }
}

void RaceCheck::RecordUb(State& state, const Instr& instr, const AccessList& accesses) {
  const size_t pipe = Index(instr.pipe);
  const uint32_t number = state.executed[pipe];
  bool touches_ub = false;
  for (size_t i = 0; i < accesses.size(); ++i) {
    const Access& access = accesses[i];
    if (access.space != Space::kUb) continue;
    touches_ub = true;
    auto& blocks = access.write ? state.writes[pipe] : state.reads[pipe];
    access.ForEachRun([&](uint64_t low, uint64_t high) {
      const auto first = blocks.begin() + static_cast<int64_t>(low / kBlockBytes);
      const auto last =
          blocks.begin() + static_cast<int64_t>((high + kBlockBytes - 1) / kBlockBytes);
      std::fill(first, last, number);
    });
  }
  if (!touches_ub) return;
  auto& past = state.past[pipe];
  uint32_t known_to_all = number;
  for (const Clock& clock : state.clocks) known_to_all = std::min(known_to_all, clock[pipe]);
  while (!past.empty() && (past.front().number <= known_to_all || past.size() >= kPastKept)) {
    past.pop_front();
  }
  past.push_back({number, instr.serial, instr.op, instr.where, accesses});
}

void RaceCheck::RecordGm(const CoreView& core, State& state, const Instr& instr,
                         const Access& access) {
  const GmBuffer* buffer = memory_->Near(access.base);
  if (buffer == nullptr || buffer->role == BufferRole::kInput) return;
  GmRun run;
  run.core = core.block;
  run.pipe = instr.pipe;
  run.op = instr.op;
  run.atomic = instr.dma.atomic != Atomic::kNone;
  run.number = state.executed[Index(instr.pipe)];
  run.serial = instr.serial;
  run.clock = state.clocks[Index(instr.pipe)];
  run.where = instr.where;
  auto& runs = access.write ? state.gm_writes : state.gm_reads;
  access.ForEachRun([&](uint64_t low, uint64_t high) {
    run.low = low;
    run.high = high;
    if (instr.pipe == Pipe::kS && access.write) {  // the data cache writes whole lines back
      run.low = low / kCacheLineBytes * kCacheLineBytes;
      run.high = (high + kCacheLineBytes - 1) / kCacheLineBytes * kCacheLineBytes;
    }
    runs.push_back(run);
  });
}

void RaceCheck::EndCore(const CoreView& core) {
  State& state = StateOf(core);
  for (size_t pipe = 0; pipe < kPipes; ++pipe) {
    state.writes[pipe] = {};
    state.reads[pipe] = {};
    state.past[pipe].clear();
  }
}

// The n-th wait for a flag passes when every core has set it n times, this one among them.
void RaceCheck::PassCrossCoreWait(State& state, const Instr& instr, Clock& clock) {
  const auto flag = static_cast<size_t>(instr.event_id);
  const uint32_t number = ++state.cross_core_waits[flag];
  clock[kPipes + flag] = number;
  const std::vector<Clock>& sets = state.cross_core_sets[flag];
  if (number <= sets.size()) Join(clock, sets[number - 1]);
}

// The first one's core set a flag behind it, which the second one's core had waited for.
bool RaceCheck::OrderedBetween(const GmRun& first, const GmRun& second) const {
  const auto& all_sets = states_[static_cast<size_t>(first.core)]->cross_core_sets;
  for (size_t flag = 0; flag < kCrossCoreFlags; ++flag) {
    const std::vector<Clock>& sets = all_sets[flag];
    const size_t passed = std::min<size_t>(second.clock[kPipes + flag], sets.size());
    if (passed > 0 && sets[passed - 1][Index(first.pipe)] >= first.number) return true;
  }
  return false;
}

// Both touch the same bytes, and `write` writes them. Whether they are a race.
bool RaceCheck::CompareGm(const GmRun& write, const GmRun& other) {
  const bool between = write.core != other.core;
  if (write.atomic && other.atomic) return false;
  if (between && (OrderedBetween(write, other) || OrderedBetween(other, write))) return false;
  if (!between) {
    if (write.pipe == Pipe::kS && other.pipe == Pipe::kS) return false;
    if (other.clock[Index(write.pipe)] >= write.number) return false;
    if (write.clock[Index(other.pipe)] >= other.number) return false;
  }
  if (!findings_.IsNew(kCheck, between ? kGmBetween : kGmWithin, other.where, write.where)) {
    return true;
  }
  const bool other_writes = other.op == Op::kStore || other.op == Op::kGmSetValue;
  const bool other_first = !between && other.serial < write.serial;
  const GmRun& first = other_first ? other : write;
  const GmRun& second = other_first ? write : other;
  const bool first_writes = other_first ? other_writes : true;
  const bool second_writes = other_first ? true : other_writes;
  auto text = [](const GmRun& run, bool writes) {
    return "core " + std::to_string(run.core) + ", " + Text({run.pipe, run.op, run.where, writes});
  };
  findings_.Add(
      kCheck,
      std::string(Hazard(first_writes, second_writes)) + " on " +
          GmText(*memory_, std::max(first.low, second.low), std::min(first.high, second.high)) +
          ": " + text(second, second_writes) + " what " + text(first, first_writes) + ", with no " +
          (between ? "SyncAll" : Missing(first.pipe, second.pipe)) + " between them");
  return true;
}

void RaceCheck::EndLaunch() {
  std::vector<GmRun> writes;
  std::vector<GmRun> reads;
  for (const auto& state : states_) {
    if (state == nullptr) continue;
    writes.insert(writes.end(), state->gm_writes.begin(), state->gm_writes.end());
    reads.insert(reads.end(), state->gm_reads.begin(), state->gm_reads.end());
    state->gm_writes.clear();
    state->gm_reads.clear();
  }
  std::sort(writes.begin(), writes.end(),
            [](const GmRun& a, const GmRun& b) { return a.low < b.low; });
  std::vector<uint64_t> reach;  // the furthest end among the writes up to each one
  uint64_t furthest = 0;
  for (const GmRun& write : writes) reach.push_back(furthest = std::max(furthest, write.high));

  // Writes that begin before `high` and end after `low`, from the last one backwards.
  auto for_each_meeting = [&](uint64_t low, uint64_t high, size_t limit, auto&& visit) {
    const auto stop =
        std::lower_bound(writes.begin(), writes.begin() + static_cast<int64_t>(limit), high,
                         [](const GmRun& write, uint64_t value) { return write.low < value; });
    for (size_t i = static_cast<size_t>(stop - writes.begin()); i > 0 && reach[i - 1] > low; --i) {
      if (writes[i - 1].high > low && visit(writes[i - 1])) return;
    }
  };
  for (size_t i = 0; i < writes.size(); ++i) {
    int compared = 0;
    for_each_meeting(writes[i].low, writes[i].high, i, [&](const GmRun& other) {
      compared += CompareGm(other, writes[i]) ? 1 : 0;
      return compared == kMostCompared;
    });
  }
  for (const GmRun& read : reads) {
    int compared = 0;
    for_each_meeting(read.low, read.high, writes.size(), [&](const GmRun& write) {
      compared += CompareGm(write, read) ? 1 : 0;
      return compared == kMostCompared;
    });
  }
}

}  // namespace executor
