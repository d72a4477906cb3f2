// One instruction of a core as the executor records it: what it does, to which bytes, and where it
// was written. Plain data; the meaning of each operation is in exec_*.cpp, its footprint in
// footprint.cpp.
#pragma once

#include <cstdint>
#include <string>

#include "numeric.h"

namespace executor {

// std::source_location, which clang has from 16 on only: a place in the kernel's source.
class Where {
 public:
  constexpr Where() = default;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    Where where;
    where.file_ = file;
    where.line_ = line;
    return where;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr int line() const { return line_; }

 private:
  const char* file_ = "";
  int line_ = 0;
};

enum class Pipe : uint8_t { kS, kV, kMte2, kMte3 };
constexpr int kPipes = 4;
constexpr uint32_t kBlockBytes = 32;           // one DataBlock of UB
constexpr uint32_t kMostUbBytes = 256 * 1024;  // the largest physical UB
constexpr uint32_t kRepeatBytes = 256;         // what one repeat of a vector instruction covers

constexpr const char* Name(Pipe pipe) {
  constexpr const char* kNames[] = {"S", "V", "MTE2", "MTE3"};
  return kNames[static_cast<int>(pipe)];
}

enum class Type : uint8_t {
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kHalf,
  kBf16,
  kInt32,
  kUint32,
  kFloat,
  kInt64,
  kUint64,
  kNone
};

constexpr uint32_t SizeOf(Type type) {
  constexpr uint32_t kSizes[] = {1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 0};
  return kSizes[static_cast<int>(type)];
}

constexpr const char* Name(Type type) {
  constexpr const char* kNames[] = {"int8_t", "uint8_t",    "int16_t",  "uint16_t",
                                    "half",   "bfloat16_t", "int32_t",  "uint32_t",
                                    "float",  "int64_t",    "uint64_t", "none"};
  return kNames[static_cast<int>(type)];
}

enum class Op : uint8_t {
  // V, two sources
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMax,
  kMin,
  kMulAddDst,
  kFusedMulAdd,
  // V, one source and a scalar
  kAdds,
  kMuls,
  kMaxs,
  kMins,
  kAxpy,
  // V, one source
  kAbs,
  kSqrt,
  kRsqrt,
  kReciprocal,
  kExp,
  kLn,
  kRelu,
  kCast,
  kCopy,
  kDuplicate,
  // V, other shapes
  kBrcb,
  kGather,
  kWholeReduceSum,
  kBlockReduceSum,
  kPairReduceSum,
  // MTE2 and MTE3
  kLoad,
  kStore,
  // S
  kGetValue,
  kSetValue,
  kGmGetValue,
  kGmSetValue,
  kCleanCache,
  // synchronisation
  kSetFlag,
  kWaitFlag,
  kBarrier,
  kSyncAll,
  kCrossCoreSet,
  kCrossCoreWait,
  kForget,  // a queue gave the buffer out again: what it held is no longer data
  kCount
};

constexpr const char* Name(Op op) {
  constexpr const char* kNames[] = {"Add",
                                    "Sub",
                                    "Mul",
                                    "Div",
                                    "Max",
                                    "Min",
                                    "MulAddDst",
                                    "FusedMulAdd",
                                    "Adds",
                                    "Muls",
                                    "Maxs",
                                    "Mins",
                                    "Axpy",
                                    "Abs",
                                    "Sqrt",
                                    "Rsqrt",
                                    "Reciprocal",
                                    "Exp",
                                    "Ln",
                                    "Relu",
                                    "Cast",
                                    "Copy",
                                    "Duplicate",
                                    "Brcb",
                                    "Gather",
                                    "WholeReduceSum",
                                    "BlockReduceSum",
                                    "PairReduceSum",
                                    "DataCopy(GM to UB)",
                                    "DataCopy(UB to GM)",
                                    "GetValue",
                                    "SetValue",
                                    "GlobalTensor.GetValue",
                                    "GlobalTensor.SetValue",
                                    "DataCacheCleanAndInvalid",
                                    "SetFlag",
                                    "WaitFlag",
                                    "PipeBarrier",
                                    "SyncAll",
                                    "CrossCoreSetFlag",
                                    "CrossCoreWaitFlag",
                                    "AllocTensor"};
  static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<int>(Op::kCount));
  return kNames[static_cast<int>(op)];
}

constexpr bool IsVector(Op op) { return op <= Op::kPairReduceSum; }
constexpr bool IsDma(Op op) { return op == Op::kLoad || op == Op::kStore; }
constexpr bool IsReduction(Op op) { return op >= Op::kWholeReduceSum && op <= Op::kPairReduceSum; }

// The flags of HardEvent that a vector core has, as (from, to).
struct Event {
  Pipe from = Pipe::kS;
  Pipe to = Pipe::kS;
  constexpr int Index() const { return static_cast<int>(from) * kPipes + static_cast<int>(to); }
};
constexpr int kEvents = kPipes * kPipes;
constexpr int kEventIds = 8;
// Flags between cores: 0 to 10 are the kernel's, 11 to 14 SyncAll's, and Matmul takes 15.
constexpr int kCrossCoreFlags = 16;
constexpr int kMostCrossCoreFlag = 10;
constexpr int kSyncAllFlag = 14;  // of vector cores alone
constexpr int kMostCrossCoreCount = 15;

inline std::string Name(Event event) {
  return std::string(Name(event.from)) + "_" + Name(event.to);
}

// A UB operand: bytes from the start of UB, and the allocation it was taken from.
struct UbOperand {
  Type type = Type::kNone;
  bool present = false;
  uint32_t offset = 0;     // bytes
  uint32_t begin = 0;      // of the allocation, bytes
  uint32_t end = 0;        // of the allocation, bytes
  int32_t blk_stride = 1;  // blocks of 32 B
  int32_t rep_stride = 8;  // blocks of 32 B, except where the instruction has a unit of its own
  int16_t buffer = -1;     // index of the allocation in the core's buffer list
};

// A GM operand: the device address, and the extent that SetGlobalBuffer declared (0 when it did
// not).
struct GmOperand {
  Type type = Type::kNone;
  uint64_t address = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

enum class CacheHint : uint8_t { kDisable = 0, kNormal = 1, kLast = 2, kPersistent = 4 };
enum class MaskMode : uint8_t { kNormal, kCounter };
enum class Atomic : uint8_t { kNone, kAdd };

// How a DMA was asked for, which decides its rules of alignment and units.
enum class DmaForm : uint8_t { kCount, kBlocks, kPad };

struct Dma {
  DmaForm form = DmaForm::kCount;
  uint64_t requested_bytes = 0;  // kCount: as written, before the remainder is dropped
  uint32_t block_count = 0;
  uint32_t block_bytes = 0;
  int64_t gm_stride = 0;  // bytes from one block's start to the next in GM
  int64_t ub_stride = 0;  // bytes from one block's start to the next in UB
  uint32_t left_bytes = 0;
  uint32_t right_bytes = 0;
  bool is_pad = false;
  uint64_t pad_bits = 0;
  Atomic atomic = Atomic::kNone;
  Type atomic_type = Type::kNone;
  CacheHint hint = CacheHint::kNormal;
};

// A parameter whose value did not fit its field, so that the hardware would see another one.
struct CutField {
  const char* name = "";
  int64_t passed = 0;
  int64_t limit = 0;
};
constexpr int kMostCutFields = 3;

struct Instr {
  Op op = Op::kAdd;
  Pipe pipe = Pipe::kS;
  Where where;
  uint64_t serial = 0;  // program order on S

  UbOperand dst;
  UbOperand src0;
  UbOperand src1;
  GmOperand gm;
  Dma dma;

  bool count_form = false;
  bool sets_mask = true;
  MaskMode mask_mode = MaskMode::kNormal;
  uint64_t mask[2] = {0, 0};   // kNormal: lanes; mask[0] holds lanes 0 to 63
  uint64_t count = 0;          // kCounter: elements
  int64_t mask_argument = -1;  // the contiguous mask as written, -1 when there was none
  int64_t repeat = 1;
  Rounding rounding = Rounding::kNone;
  bool saturate = false;  // CTRL[48] = 0
  double scalar = 0;
  uint64_t scalar_bits = 0;
  uint32_t gather_base = 0;  // bytes

  Event event;             // CrossCoreWaitFlag: to the pipe that it blocks, or S for all
  int32_t event_id = 0;    // or the flag between cores
  bool all_pipes = false;  // PipeBarrier<PIPE_ALL>

  int cut_count = 0;
  CutField cut[kMostCutFields];
};

}  // namespace executor
