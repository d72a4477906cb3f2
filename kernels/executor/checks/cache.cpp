// See cache.h. Inputs never change during a launch, so only outputs and the workspace matter.
#include "cache.h"

namespace executor {

namespace {

constexpr char kCheck[] = "cache";
constexpr uint64_t kLineBytes = 64;
enum Kind { kStale, kDirty };

uint64_t Line(uint64_t address) { return address / kLineBytes; }

}  // namespace

void CacheCheck::BeginLaunch(const LaunchView& launch) {
  memory_ = &launch.memory;
  states_.resize(static_cast<size_t>(launch.blocks));
}

void CacheCheck::BeginCore(const CoreView& core) {
  states_[static_cast<size_t>(core.block)] = std::make_unique<State>();
}

bool CacheCheck::IsShared(uint64_t address) const {
  const GmBuffer* buffer = memory_->Near(address);
  return buffer != nullptr && buffer->role != BufferRole::kInput;
}

// A set is of its pipe's queue, but what the cache holds then is decided by the program's order.
void CacheCheck::OnIssue(const CoreView& core, const Instr& instr, const AccessList&) {
  if (instr.op != Op::kSyncAll && instr.op != Op::kCrossCoreSet) return;
  for (const auto& [line, where] : states_[static_cast<size_t>(core.block)]->dirty) {
    if (!findings_.IsNew(kCheck, kDirty, where, instr.where)) continue;
    findings_.Add(kCheck, CoreText(core) + ": GlobalTensor.SetValue (" + Place(where) + ") to " +
                              GmText(*memory_, line * kLineBytes, (line + 1) * kLineBytes) +
                              " is not cleaned out of the data cache before " + Name(instr.op) +
                              " (" + Place(instr.where) + "): no other core sees it");
  }
}

void CacheCheck::OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  State& state = *states_[static_cast<size_t>(core.block)];
  switch (instr.op) {
    case Op::kGmGetValue:
      return Read(core, state, instr);
    case Op::kGmSetValue:
      state.dirty.insert_or_assign(Line(instr.gm.address), instr.where);
      state.fresh.insert(Line(instr.gm.address));
      return;
    case Op::kCleanCache:
      return Clean(state, instr);
    case Op::kSyncAll:
    case Op::kCrossCoreWait:
      state.fresh.clear();
      state.all_fresh = false;
      return;
    case Op::kStore:
      if (state.fresh.empty() && !state.all_fresh) return;
      for (size_t i = 0; i < accesses.size(); ++i) {
        if (accesses[i].space != Space::kGm) continue;
        accesses[i].ForEachRun([&](uint64_t low, uint64_t high) {
          for (uint64_t line = Line(low); line <= Line(high - 1); ++line) {
            state.fresh.erase(line);
            if (state.all_fresh) state.stored_since.insert(line);
          }
        });
      }
      return;
    default:
      return;
  }
}

void CacheCheck::Read(const CoreView& core, State& state, const Instr& instr) {
  const uint64_t line = Line(instr.gm.address);
  if (!IsShared(instr.gm.address) || state.fresh.contains(line)) return;
  if (state.all_fresh && !state.stored_since.contains(line)) return;
  if (!findings_.IsNew(kCheck, kStale, instr.where)) return;
  findings_.Add(kCheck,
                CoreText(core) + ": GlobalTensor.GetValue (" + Place(instr.where) + ") reads " +
                    GmText(*memory_, instr.gm.address, instr.gm.address + SizeOf(instr.gm.type)) +
                    " through the data cache with no DataCacheCleanAndInvalid since it may "
                    "have been written");
}

void CacheCheck::Clean(State& state, const Instr& instr) {
  if (instr.count_form) {  // the entire cache
    state.dirty.clear();
    state.all_fresh = true;
    state.stored_since.clear();
    return;
  }
  state.dirty.erase(Line(instr.gm.address));
  state.fresh.insert(Line(instr.gm.address));
  state.stored_since.erase(Line(instr.gm.address));
}

}  // namespace executor
