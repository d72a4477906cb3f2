// See counts.h.
#include "counts.h"

#include <algorithm>
#include <bit>

namespace executor {

void Counts::BeginLaunch(const LaunchView& launch) {
  cores_.resize(static_cast<size_t>(launch.blocks));
}

void Counts::OnRegister(const CoreView& core, Where) {
  ++cores_[static_cast<size_t>(core.block)].register_sets;
}

void Counts::OnIssue(const CoreView& core, const Instr& instr, const AccessList&) {
  CoreCounts& counts = cores_[static_cast<size_t>(core.block)];
  ++counts.instructions[static_cast<size_t>(instr.op)];
  if (IsVector(instr.op)) {
    const uint64_t repeats = instr.op == Op::kBrcb
                                 ? static_cast<uint64_t>(std::max<int64_t>(instr.repeat, 0))
                                 : LanesOf(instr).Repeats();
    counts.repeats[static_cast<size_t>(instr.op)] += repeats;
    return;
  }
  switch (instr.op) {
    case Op::kLoad:
    case Op::kStore: {
      const uint64_t bytes = static_cast<uint64_t>(instr.dma.block_count) * instr.dma.block_bytes;
      if (bytes == 0) break;
      (instr.op == Op::kLoad ? counts.gm_read_bytes : counts.gm_write_bytes) += bytes;
      ++(instr.op == Op::kLoad ? counts.loads : counts.stores);
      const size_t bin = static_cast<size_t>(std::bit_width(bytes) - 1);
      ++counts.dma_sizes[std::min<size_t>(bin, kDmaSizeBins - 1)];
      break;
    }
    case Op::kSetFlag:
      ++counts.set_flags;
      break;
    case Op::kWaitFlag:
      ++counts.wait_flags;
      break;
    case Op::kCrossCoreSet:
      ++counts.cross_core_sets;
      break;
    case Op::kCrossCoreWait:
      ++counts.cross_core_waits;
      break;
    case Op::kBarrier:
      ++(instr.pipe == Pipe::kV ? counts.v_barriers : counts.other_barriers);
      break;
    case Op::kSyncAll:
      ++counts.sync_alls;
      break;
    case Op::kGetValue:
    case Op::kSetValue:
      ++counts.ub_scalar_accesses;
      break;
    case Op::kGmGetValue:
    case Op::kGmSetValue:
      ++counts.gm_scalar_accesses;
      break;
    default:
      break;
  }
}

}  // namespace executor
