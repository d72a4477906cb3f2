// See sync.h. Flags are paired in program order, as the pages ask, whatever order the schedule
// takes.
#include "sync.h"

namespace executor {

namespace {

constexpr char kCheck[] = "sync";
enum Kind {
  kDoubledSet,
  kUnpairedSet,
  kUnpairedWait,
  kQueue,
  kQueueHeld,
  kQueueFull,
  kMisuse,
  kStuck,
  kUnequal,
  kCrossCoreLeft,
  kCrossCoreCount,
  kCrossCorePipe,
  kTooManyBlocks,
  kKernelType,
  kWorkspace,
  kMaskMode,
  kMaskLanes,
  kAtomicLeft,
  kCtrlLeft,
};

std::string FlagText(const Instr& instr) {
  return executor::Name(instr.event) + ">(" + std::to_string(instr.event_id) + ")";
}

const char* Name(QueueEvent event) {
  constexpr const char* kNames[] = {"AllocTensor", "EnQue", "DeQue", "FreeTensor"};
  return kNames[static_cast<int>(event)];
}

}  // namespace

void SyncCheck::Tell(int kind, Where where, Where other, const CoreView& core,
                     const std::string& text) {
  if (findings_.IsNew(kCheck, kind, where, other)) {
    findings_.Add(kCheck, CoreText(core) + ": " + text);
  }
}

void SyncCheck::BeginLaunch(const LaunchView& launch) {
  device_ = launch.device;
  blocks_ = launch.blocks;
  states_.resize(static_cast<size_t>(launch.blocks));
  for (const GmBuffer& buffer : launch.memory.buffers()) {
    if (buffer.role == BufferRole::kWorkspace) workspace_bytes_ += buffer.bytes;
  }
}

void SyncCheck::BeginCore(const CoreView& core) {
  states_[static_cast<size_t>(core.block)] = std::make_unique<State>();
}

void SyncCheck::OnInitBuffer(const CoreView& core, const UbBuffer&) {
  StateOf(core).buffers.resize(core.ub_buffers.size());
}

void SyncCheck::OnIssue(const CoreView& core, const Instr& instr, const AccessList&) {
  if (instr.op == Op::kSetFlag || instr.op == Op::kWaitFlag) CheckFlag(core, instr);
  if (instr.op == Op::kCrossCoreSet) CheckCrossCoreSet(core, instr);
  if (instr.op == Op::kCrossCoreWait) --StateOf(core).cross_core[instr.event_id].outstanding;
  if (instr.op == Op::kSyncAll || instr.op == Op::kCrossCoreSet) CheckAllCores(core, instr);
}

void SyncCheck::CheckFlag(const CoreView& core, const Instr& instr) {
  Flag& flag = StateOf(core).flags[instr.event.Index()][instr.event_id];
  if (instr.op == Op::kWaitFlag) {
    if (flag.sets.empty()) {
      flag.waits.push_back(instr.where);
    } else {
      flag.sets.pop_front();
    }
    return;
  }
  if (!flag.waits.empty()) {
    flag.waits.pop_front();
    return;
  }
  if (!flag.sets.empty()) {
    Tell(kDoubledSet, instr.where, flag.sets.back(), core,
         "SetFlag<" + FlagText(instr) + " (" + Place(instr.where) + ") doubles the one of " +
             Place(flag.sets.back()) + ", with no WaitFlag between them");
  }
  flag.sets.push_back(instr.where);
}

void SyncCheck::CheckCrossCoreSet(const CoreView& core, const Instr& instr) {
  CrossCoreFlag& flag = StateOf(core).cross_core[instr.event_id];
  const std::string call =
      "CrossCoreSetFlag(" + std::to_string(instr.event_id) + ") (" + Place(instr.where) + ") ";
  if (++flag.outstanding > kMostCrossCoreCount) {
    Tell(kCrossCoreCount, instr.where, Where(), core,
         call + "makes " + std::to_string(flag.outstanding) +
             " sets that were not waited for, and the counter ends at " +
             std::to_string(kMostCrossCoreCount));
  }
  if (flag.pipe != Pipe::kS && flag.pipe != instr.pipe) {
    Tell(kCrossCorePipe, instr.where, flag.where, core,
         call + "is of pipe " + executor::Name(instr.pipe) + ", the one before (" +
             Place(flag.where) + ") of pipe " + executor::Name(flag.pipe) +
             ": a flag is for one pipe");
  }
  flag.pipe = instr.pipe;
  flag.where = instr.where;
}

void SyncCheck::CheckAllCores(const CoreView& core, const Instr& instr) {
  const std::string call = executor::Name(instr.op) + (" (" + Place(instr.where)) + ") ";
  if (blocks_ > device_.vector_cores) {
    Tell(kTooManyBlocks, instr.where, Where(), core,
         call + "with " + std::to_string(blocks_) + " blocks on " +
             std::to_string(device_.vector_cores) + " vector cores never returns");
  }
  if (!core.cross_core_scheduler) {
    Tell(kKernelType, instr.where, Where(), core,
         call + "needs KERNEL_TYPE_MIX_AIV_1_0, but the kernel declares KERNEL_TYPE_AIV_ONLY");
  }
  if (workspace_bytes_ == 0) {
    Tell(kWorkspace, instr.where, Where(), core, call + "needs a workspace of at least 16 bytes");
  }
}

void SyncCheck::OnQueue(const CoreView& core, const QueueCall& call) {
  if (call.problem != nullptr) {
    Tell(kQueue, call.where, Where(), core,
         std::string(Name(call.event)) + " (" + Place(call.where) + "): " + call.problem);
    return;
  }
  Buffer& buffer = StateOf(core).buffers[static_cast<size_t>(call.buffer)];
  buffer.where = call.where;
  buffer.holder = call.event == QueueEvent::kFree    ? Holder::kNobody
                  : call.event == QueueEvent::kEnQue ? Holder::kQueue
                                                     : Holder::kKernel;
}

void SyncCheck::OnMisuse(const CoreView& core, const std::string& text, Where where) {
  Tell(kMisuse, where, Where(), core, text + " (" + Place(where) + ")");
}

void SyncCheck::OnStuck(const CoreView& core, const std::string& text, Where where) {
  Tell(kStuck, where, Where(), core, text + " (" + Place(where) + ")");
}

void SyncCheck::EndCore(const CoreView& core) {
  State& state = StateOf(core);
  for (int event = 0; event < kEvents; ++event) {
    for (int id = 0; id < kEventIds; ++id) {
      const Flag& flag = state.flags[event][id];
      const Event which{static_cast<Pipe>(event / kPipes), static_cast<Pipe>(event % kPipes)};
      const std::string text = executor::Name(which) + ">(" + std::to_string(id) + ")";
      if (!flag.sets.empty()) {
        Tell(kUnpairedSet, flag.sets.back(), Where(), core,
             "SetFlag<" + text + " (" + Place(flag.sets.back()) +
                 ") is never waited for and leaks into the next kernel");
      }
      if (!flag.waits.empty()) {
        Tell(kUnpairedWait, flag.waits.back(), Where(), core,
             "WaitFlag<" + text + " (" + Place(flag.waits.back()) + ") has no SetFlag");
      }
    }
  }
  for (int id = 0; id < kCrossCoreFlags; ++id) {
    const CrossCoreFlag& flag = state.cross_core[id];
    if (flag.outstanding > 0) {
      Tell(kCrossCoreLeft, flag.where, Where(), core,
           "CrossCoreSetFlag(" + std::to_string(id) + ") (" + Place(flag.where) +
               ") is never waited for and leaks into the next kernel");
    }
  }
  for (const Buffer& buffer : state.buffers) {
    if (buffer.holder == Holder::kKernel) {
      Tell(kQueueHeld, buffer.where, Where(), core,
           "the queue buffer taken at " + Place(buffer.where) + " is never freed");
    } else if (buffer.holder == Holder::kQueue) {
      Tell(kQueueFull, buffer.where, Where(), core,
           "the tensor of EnQue (" + Place(buffer.where) + ") is never taken out of its queue");
    }
  }
  CheckRegisters(core);
  states_[static_cast<size_t>(core.block)].reset();
}

void SyncCheck::CheckRegisters(const CoreView& core) {
  const Registers& registers = core.registers;
  if (registers.mask_mode == MaskMode::kCounter) {
    Tell(kMaskMode, registers.mode_where, Where(), core,
         "SetMaskCount (" + Place(registers.mode_where) + ") is still in force at the end");
  }
  if (registers.mask_explicit && (registers.mask[0] != ~0ull || registers.mask[1] != ~0ull)) {
    Tell(kMaskLanes, registers.mask_where, Where(), core,
         "the mask of SetVectorMask (" + Place(registers.mask_where) +
             ") is still in force at the end");
  }
  if (registers.atomic != Atomic::kNone) {
    Tell(kAtomicLeft, registers.atomic_where, Where(), core,
         "SetAtomicAdd (" + Place(registers.atomic_where) + ") is still in force at the end");
  }
  if (registers.saturate != registers.initial_saturate) {
    Tell(kCtrlLeft, registers.ctrl_where, Where(), core,
         "CTRL[48] set at " + Place(registers.ctrl_where) + " is not restored at the end");
  }
}

void SyncCheck::OnDeadlock(const Deadlock& deadlock) {
  const Instr& wait = deadlock.wait;
  if (!findings_.IsNew(kCheck, kUnequal, wait.where)) return;
  const std::string flag = wait.op == Op::kSyncAll ? "" : "(" + std::to_string(wait.event_id) + ")";
  std::string text = executor::Name(wait.op) + flag + " (" + Place(wait.where) +
                     ") was reached by " + std::to_string(deadlock.waiting) + " cores while " +
                     std::to_string(deadlock.ended) + " had ended: the launch never returns";
  if (wait.op == Op::kCrossCoreWait) {
    text += ", as core " + std::to_string(deadlock.core) + " sets flag " +
            std::to_string(wait.event_id) + " " + std::to_string(deadlock.sets) + " times of the " +
            std::to_string(deadlock.awaited) + " that are waited for";
  }
  findings_.Add(kCheck, std::move(text));
}

}  // namespace executor
