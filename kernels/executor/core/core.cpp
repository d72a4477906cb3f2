// The schedule of one core: which pipe runs next, and when the scalar unit has to wait.
// What an instruction does to memory is in exec_*.cpp.
#include "core.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "exec.h"

namespace executor {

namespace {

constexpr size_t kQueueLength =
    128;  // instructions a pipe holds before the scalar unit has to wait

thread_local Core* current_core = nullptr;

std::string Place(Where where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

}  // namespace

// Not inlined: a fiber may not keep the address of a thread-local across a switch.
__attribute__((noinline)) Core& CurrentCore() { return *current_core; }
__attribute__((noinline)) void SetCurrentCore(Core* core) { current_core = core; }

Core::Core(int32_t block, int32_t blocks, const Device& device, const GlobalMemory& memory,
           const Options& options, const std::vector<Observer*>& observers,
           std::atomic<bool>& give_up)
    : device_(device),
      memory_(memory),
      options_(options),
      observers_(observers),
      give_up_(give_up),
      ub_(nullptr, std::free),
      random_(options.seed * 0x100000001b3ull + static_cast<uint64_t>(block)) {
  view_.block = block;
  view_.blocks = blocks;
  view_.registers.saturate = options.saturate;
  view_.registers.initial_saturate = options.saturate;
}

void Core::Begin() {
  // All ones is a NaN in every floating format, so a value that nobody wrote shows in the results.
  ub_.reset(static_cast<uint8_t*>(std::aligned_alloc(512, kMostUbBytes)));
  std::memset(ub_.get(), 0xff, kMostUbBytes);
  view_.ub = ub_.get();
  ChoosePolicy();
  for (Observer* observer : observers_) observer->BeginCore(view_);
}

void Core::Finish() {
  if (!aborted_) {
    Instr end;
    end.op = Op::kBarrier;
    end.all_pipes = true;
    try {
      RunUntil(end, [this] { return PipesAreEmpty(); });
    } catch (const CoreAbort&) {
    }
  }
  if (!aborted_) {
    for (Observer* observer : observers_) observer->EndCore(view_);
  }
  for (auto& queue : queues_) queue.clear();
  ub_.reset();
  view_.ub = nullptr;
}

void Core::ChoosePolicy() {
  until_change_ = 16 + random_.Below(112);
  for (uint32_t i = 2; i > 0; --i) std::swap(order_[i], order_[random_.Below(i + 1)]);
  constexpr uint32_t kEagerness[] = {0, 0, 32, 128, 256, 256};
  eagerness_ = kEagerness[random_.Below(6)];
}

void Core::Abort() {
  aborted_ = true;
  throw CoreAbort{};
}

void Core::AbortIfAsked() {
  if (aborted_) throw CoreAbort{};
}

void Core::Stuck(const std::string& text, Where where) {
  for (Observer* observer : observers_) observer->OnStuck(view_, text, where);
}

int32_t Core::AddUbBuffer(UbBuffer buffer) {
  view_.ub_buffers.push_back(buffer);
  for (Observer* observer : observers_) observer->OnInitBuffer(view_, buffer);
  return static_cast<int32_t>(view_.ub_buffers.size()) - 1;
}

void Core::ReportQueue(const QueueCall& call) {
  for (Observer* observer : observers_) observer->OnQueue(view_, call);
}

void Core::ReportMisuse(const std::string& text, Where where) {
  for (Observer* observer : observers_) observer->OnMisuse(view_, text, where);
}

void Core::RegisterChanged(Where where) {
  for (Observer* observer : observers_) observer->OnRegister(view_, where);
}

bool Core::Ready(const Instr& instr) const {
  return instr.op != Op::kWaitFlag || flags_[instr.event.Index()][instr.event_id] != 0;
}

// On 2201 the V pipe starts an instruction before the one ahead has written its results, and a DMA
// engine keeps several transfers in flight: between two barriers or flags, neighbours may take
// effect in either order.
bool Core::MaySwap(const std::deque<Queued>& queue) const {
  if (options_.seed == 0 || queue.size() < 2) return false;
  const Op first = queue[0].instr.op;
  const Op second = queue[1].instr.op;
  if (IsVector(first) && IsVector(second)) return device_.arch == 2201 && !options_.auto_sync;
  return IsDma(first) && IsDma(second);
}

bool Core::StepPipe(Pipe pipe) {
  auto& pending = queue(pipe);
  if (pending.empty() || !Ready(pending.front().instr)) return false;
  if (MaySwap(pending) && random_.Below(2) == 0) std::swap(pending[0], pending[1]);
  Queued item = std::move(pending.front());
  pending.pop_front();
  Execute(item.instr, item.accesses);
  return true;
}

bool Core::Step() {
  if (options_.seed != 0 && until_change_-- == 0) ChoosePolicy();
  for (Pipe pipe : order_) {
    if (StepPipe(pipe)) return true;
  }
  return false;
}

void Core::Wander() {
  if (options_.seed == 0) {
    while (Step()) {
    }
    return;
  }
  if (until_change_ == 0) ChoosePolicy();
  --until_change_;
  while (random_.Below(256) < eagerness_) {
    if (!StepPipe(order_[random_.Below(3)]) && !Step()) return;
    if (eagerness_ == 256 && random_.Below(4) == 0) return;
  }
}

std::string Core::DescribeHeads() const {
  std::string text;
  for (int p = 1; p < kPipes; ++p) {
    if (queues_[p].empty()) continue;
    const Instr& head = queues_[p].front().instr;
    if (!text.empty()) text += "; ";
    text += std::string("pipe ") + Name(static_cast<Pipe>(p)) + " at " + Name(head.op);
    if (head.op == Op::kWaitFlag) {
      text += "<" + Name(head.event) + ">(" + std::to_string(head.event_id) + ")";
    }
    text += " (" + Place(head.where) + ")";
  }
  return text.empty() ? "the other pipes are empty" : text;
}

template <class Condition>
void Core::RunUntil(const Instr& waiting, Condition condition) {
  while (!condition()) {
    if (Step()) continue;
    std::string text = std::string("pipe S waits for ever at ") + Name(waiting.op);
    if (waiting.op == Op::kWaitFlag) {
      text += "<" + Name(waiting.event) + ">(" + std::to_string(waiting.event_id) + ")";
    }
    Stuck(text + "; " + DescribeHeads(), waiting.where);
    Abort();
  }
}

void Core::Issue(Instr instr) {
  if (aborted_) return;  // called by a destructor while the kernel unwinds
  instr.serial = ++serial_;
  if (give_up_.load(std::memory_order_relaxed)) Abort();
  if (serial_ > options_.max_instructions) {
    give_up_ = true;
    Stuck("the core issued " + std::to_string(serial_) + " instructions without an end",
          instr.where);
    Abort();
  }
  if (instr.pipe != Pipe::kS) {
    auto& pending = queue(instr.pipe);
    RunUntil(instr, [&] { return pending.size() < kQueueLength; });
    pending.emplace_back();
    Queued& item = pending.back();
    item.instr = instr;
    FootprintOf(instr, item.accesses);
    if (instr.op == Op::kCrossCoreSet) ++pending_sets_;
    for (Observer* observer : observers_) observer->OnIssue(view_, item.instr, item.accesses);
    Wander();
    return;
  }
  scratch_.Clear();
  FootprintOf(instr, scratch_);
  for (Observer* observer : observers_) observer->OnIssue(view_, instr, scratch_);
  if (instr.op == Op::kWaitFlag) {
    RunUntil(instr, [&] { return Ready(instr); });
  } else if (instr.op == Op::kCrossCoreWait) {
    // What was issued before goes on meanwhile; the other cores may wait for sets among that.
    while (pending_sets_ > 0 && Step()) {
    }
  } else if (instr.all_pipes) {
    RunUntil(instr, [this] { return PipesAreEmpty(); });
  }
  Execute(instr, scratch_);
  if (instr.op == Op::kSyncAll || instr.op == Op::kCrossCoreWait) {
    wait_for_all_cores(instr);
    AbortIfAsked();
  }
  Wander();
}

uint64_t Core::IssueRead(Instr instr) {
  read_bits_ = 0;
  Issue(instr);
  return read_bits_;
}

bool Core::PipesAreEmpty() const {
  return std::all_of(queues_.begin(), queues_.end(), [](const auto& each) { return each.empty(); });
}

bool Core::MemoryExists(const AccessList& accesses) const {
  for (size_t i = 0; i < accesses.size(); ++i) {
    const Access& access = accesses[i];
    const uint64_t low = access.Low();
    const uint64_t high = access.High();
    if (access.space == Space::kUb) {
      if (low > high || high > kMostUbBytes) return false;
    } else if (memory_.Host(low, high) == nullptr || (access.write && !memory_.MayWrite(low))) {
      return false;
    }
  }
  return true;
}

void Core::Execute(const Instr& instr, AccessList& accesses) {
  bool exists = MemoryExists(accesses);
  if (instr.op == Op::kGather && exists) {
    AddGatherSources(instr, ub_.get(), accesses);
    exists = MemoryExists(accesses);
  }
  for (Observer* observer : observers_) observer->OnExecute(view_, instr, accesses);
  switch (instr.op) {
    case Op::kSetFlag:
      ++flags_[instr.event.Index()][instr.event_id];
      return;
    case Op::kWaitFlag:
      --flags_[instr.event.Index()][instr.event_id];
      return;
    case Op::kCrossCoreSet:
      --pending_sets_;
      ++cross_core_sets_[static_cast<size_t>(instr.event_id)];
      return;
    case Op::kSyncAll:
      ++cross_core_sets_[static_cast<size_t>(instr.event_id)];
      ++cross_core_waits_[static_cast<size_t>(instr.event_id)];
      return;
    case Op::kCrossCoreWait:
      ++cross_core_waits_[static_cast<size_t>(instr.event_id)];
      return;
    case Op::kBarrier:
    case Op::kCleanCache:
    case Op::kForget:
      return;
    default:
      if (exists) Perform(instr);
  }
}

void Core::Perform(const Instr& instr) {
  if (IsVector(instr.op)) {
    ExecuteVector(instr, ub_.get(), device_.arch);
  } else if (IsDma(instr.op)) {
    ExecuteDma(instr, ub_.get(), memory_);
  } else {
    read_bits_ = ExecuteElement(instr, ub_.get(), memory_);
  }
}

}  // namespace executor
