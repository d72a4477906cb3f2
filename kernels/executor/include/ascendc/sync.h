// Flags, barriers, masks, modes and block indices of Ascend C.
#pragma once

#include "bridge.h"
#include "tensor.h"

namespace executor {

inline void IssueFlag(Op op, Event event, int32_t id, Where where) {
  Core& core = CurrentCore();
  if (id < 0 || id >= kEventIds) {
    core.ReportMisuse(std::string(Name(op)) + "<" + Name(event) + "> with event id " +
                          std::to_string(id) + ", outside 0 to 7",
                      where);
    return;
  }
  Instr instr;
  instr.op = op;
  instr.pipe = op == Op::kSetFlag ? event.from : event.to;
  instr.where = where;
  instr.event = event;
  instr.event_id = id;
  core.Issue(instr);
}

constexpr Pipe PipeOf(pipe_t pipe) {
  return pipe == PIPE_V      ? Pipe::kV
         : pipe == PIPE_MTE2 ? Pipe::kMte2
         : pipe == PIPE_MTE3 ? Pipe::kMte3
                             : Pipe::kS;
}

inline void IssueCrossCoreFlag(Op op, Pipe pipe, Pipe blocked, int32_t id, Where where) {
  Core& core = CurrentCore();
  if (id > kMostCrossCoreFlag) {
    core.ReportMisuse(std::string(Name(op)) + " with flag id " + std::to_string(id) +
                          ", outside 0 to 10, which SyncAll and Matmul leave to the kernel",
                      where);
    return;
  }
  Instr instr;
  instr.op = op;
  instr.pipe = pipe;
  instr.where = where;
  instr.event.to = blocked;
  instr.event_id = id;
  core.Issue(instr);
}

}  // namespace executor

namespace AscendC {

template <HardEvent event>
inline void SetFlag(int32_t eventID, executor::Where where = executor::Where::current()) {
  executor::IssueFlag(executor::Op::kSetFlag, executor::EventOf(event), eventID, where);
}

template <HardEvent event>
inline void WaitFlag(int32_t eventID, executor::Where where = executor::Where::current()) {
  executor::IssueFlag(executor::Op::kWaitFlag, executor::EventOf(event), eventID, where);
}

template <pipe_t pipe>
inline void PipeBarrier(executor::Where where = executor::Where::current()) {
  static_assert(pipe != PIPE_S, "PipeBarrier<PIPE_S> is not allowed");
  executor::Instr instr;
  instr.op = executor::Op::kBarrier;
  instr.where = where;
  instr.all_pipes = pipe == PIPE_ALL;
  if constexpr (pipe == PIPE_V) instr.pipe = executor::Pipe::kV;
  if constexpr (pipe == PIPE_MTE2) instr.pipe = executor::Pipe::kMte2;
  if constexpr (pipe == PIPE_MTE3) instr.pipe = executor::Pipe::kMte3;
  executor::CurrentCore().Issue(instr);
}

template <bool isAIVOnly = true>
inline void SyncAll(executor::Where where = executor::Where::current()) {
  executor::Instr instr;
  instr.op = executor::Op::kSyncAll;
  instr.where = where;
  instr.all_pipes = true;
  instr.event_id = executor::kSyncAllFlag;
  executor::CurrentCore().Issue(instr);
}

template <uint8_t modeId, pipe_t pipe>
inline void CrossCoreSetFlag(uint16_t flagId, executor::Where where = executor::Where::current()) {
  static_assert(modeId == 0, "only mode 0, all vector cores, is in the executor's subset");
  static_assert(pipe == PIPE_V || pipe == PIPE_MTE2 || pipe == PIPE_MTE3,
                "CrossCoreSetFlag is of PIPE_V, PIPE_MTE2 or PIPE_MTE3 on a vector core");
  executor::IssueCrossCoreFlag(executor::Op::kCrossCoreSet, executor::PipeOf(pipe),
                               executor::Pipe::kS, flagId, where);
}

// 2201 takes no notice of the pipe: everything behind the wait is held back. On 3510 the pipe alone
// is; here the scalar unit waits all the same, but the checks take nothing else for ordered.
template <uint8_t modeId = 0, pipe_t pipe = PIPE_S>
inline void CrossCoreWaitFlag(uint16_t flagId, executor::Where where = executor::Where::current()) {
  static_assert(modeId == 0, "only mode 0, all vector cores, is in the executor's subset");
  static_assert(pipe != PIPE_ALL, "CrossCoreWaitFlag<PIPE_ALL> is not allowed");
  const bool blocks_one_pipe = executor::CurrentCore().device().arch == 3510;
  executor::IssueCrossCoreFlag(executor::Op::kCrossCoreWait, executor::Pipe::kS,
                               blocks_one_pipe ? executor::PipeOf(pipe) : executor::Pipe::kS,
                               flagId, where);
}

inline int64_t GetBlockIdx() { return executor::CurrentCore().view().block; }
inline int64_t GetBlockNum() { return executor::CurrentCore().view().blocks; }

inline void SetMaskCount(executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.mask_mode = executor::MaskMode::kCounter;
  registers.mode_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

inline void SetMaskNorm(executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.mask_mode = executor::MaskMode::kNormal;
  registers.mode_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

template <typename T, MaskMode mode = MaskMode::NORMAL>
inline void SetVectorMask(const uint64_t maskHigh, const uint64_t maskLow,
                          executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.mask[0] = maskLow;
  registers.mask[1] = maskHigh;
  registers.mask_explicit = true;
  registers.mask_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

template <typename T, MaskMode mode = MaskMode::NORMAL>
inline void SetVectorMask(int32_t len, executor::Where where = executor::Where::current()) {
  if constexpr (mode == MaskMode::COUNTER) {
    SetVectorMask<T, mode>(0, static_cast<uint64_t>(len), where);
  } else {
    const uint64_t low = len >= 64 ? ~0ull : (1ull << len) - 1;
    const uint64_t high = len <= 64 ? 0 : len >= 128 ? ~0ull : (1ull << (len - 64)) - 1;
    SetVectorMask<T, mode>(high, low, where);
  }
}

inline void ResetMask(executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.mask[0] = registers.mask[1] = ~0ull;
  registers.mask_explicit = false;
  registers.mask_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

template <typename T>
inline void SetAtomicAdd(executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.atomic = executor::Atomic::kAdd;
  registers.atomic_type = executor::TypeOf<T>();
  registers.atomic_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

inline void SetAtomicNone(executor::Where where = executor::Where::current()) {
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.atomic = executor::Atomic::kNone;
  registers.atomic_type = executor::Type::kNone;
  registers.atomic_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

// Bit 48 of CTRL decides what becomes of infinity and NaN in 16-bit results; the other bits are
// outside the subset.
template <int8_t startBit, int8_t endBit>
inline void SetCtrlSpr(int64_t value, executor::Where where = executor::Where::current()) {
  static_assert(startBit == 48 && endBit == 48, "only CTRL[48] is in the executor's subset");
  executor::Registers& registers = executor::CurrentCore().registers();
  registers.saturate = value == 0;
  registers.ctrl_where = where;
  executor::CurrentCore().RegisterChanged(where);
}

template <typename T, CacheLine entireType, DcciDst dcciDst = DcciDst::CACHELINE_OUT>
inline void DataCacheCleanAndInvalid(const GlobalTensor<T>& dstTensor,
                                     executor::Where where = executor::Where::current()) {
  executor::Instr instr;
  instr.op = executor::Op::kCleanCache;
  instr.where = where;
  instr.gm = dstTensor.operand();
  instr.count_form = entireType == CacheLine::ENTIRE_DATA_CACHE;
  executor::CurrentCore().Issue(instr);
}

}  // namespace AscendC
