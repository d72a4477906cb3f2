// See bank_conflict.h.
#include "bank_conflict.h"

#include <algorithm>
#include <array>
#include <vector>

namespace executor {

namespace {

constexpr uint32_t kGroups2201 = 16;
constexpr uint32_t kThirdBytes = 64 * 1024;  // the banks of a group repeat every 64 KiB
constexpr uint32_t kPeriodBytes = kGroups2201 * kBlockBytes;

// The banks of all operands have come round after so many repeats, whatever the stride.
constexpr int64_t kMostRepeats = 16;

bool ReadOnce(const UbOperand& operand) {
  return operand.blk_stride == 0 && operand.rep_stride == 0;
}

// Adds the blocks of one repeat that an operand takes part with, each once.
void AddBlocks(const UbOperand& operand, uint32_t count, int64_t repeat,
               std::vector<uint32_t>& blocks) {
  const int64_t first = operand.offset / kBlockBytes + repeat * operand.rep_stride;
  for (uint32_t i = 0; i < count; ++i) {
    blocks.push_back(static_cast<uint32_t>(first + int64_t{i} * operand.blk_stride));
    if (operand.blk_stride == 0) break;
  }
}

uint32_t BlocksOfRepeat(const Instr& instr, const UbOperand& operand) {
  uint32_t widest = SizeOf(operand.type);
  for (const UbOperand* other : {&instr.dst, &instr.src0, &instr.src1}) {
    if (other->present) widest = std::max(widest, SizeOf(other->type));
  }
  return 8 * SizeOf(operand.type) / widest;
}

bool WriteMeetsRead(const UbOperand& dst, const UbOperand& src) {
  if (dst.offset / kThirdBytes != src.offset / kThirdBytes) return false;
  const uint32_t distance = (dst.offset - src.offset) % kPeriodBytes;
  // In place the hardware writes one repeat behind; half a period apart the two never use a group
  // at once.
  return distance != 0 && distance != kPeriodBytes / 2;
}

}  // namespace

int OperandsRead(const Instr& instr, bool reads_dst) {
  std::vector<uint32_t> offsets;
  if (reads_dst) offsets.push_back(instr.dst.offset);
  for (const UbOperand* source : {&instr.src0, &instr.src1}) {
    if (!source->present || ReadOnce(*source)) continue;
    if (std::find(offsets.begin(), offsets.end(), source->offset) == offsets.end()) {
      offsets.push_back(source->offset);
    }
  }
  return static_cast<int>(offsets.size());
}

double BankConflictCycles(const Instr& instr, int32_t arch) {
  if (instr.op == Op::kBrcb || instr.op == Op::kGather || !instr.src0.present) return 1;
  const int64_t all = static_cast<int64_t>(LanesOf(instr).Repeats());
  const int64_t repeats = std::clamp<int64_t>(all, 1, kMostRepeats);
  bool meets = false;
  if (arch == 2201 && !IsReduction(instr.op)) {
    for (const UbOperand* source : {&instr.src0, &instr.src1}) {
      meets =
          meets || (source->present && !ReadOnce(*source) && WriteMeetsRead(instr.dst, *source));
    }
  }
  uint32_t cycles = 0;
  std::vector<uint32_t> reads;
  for (int64_t repeat = 0; repeat < repeats; ++repeat) {
    reads.clear();
    for (const UbOperand* source : {&instr.src0, &instr.src1}) {
      if (!source->present || (ReadOnce(*source) && repeat > 0)) continue;
      AddBlocks(*source, BlocksOfRepeat(instr, *source), repeat, reads);
    }
    std::sort(reads.begin(), reads.end());
    reads.erase(std::unique(reads.begin(), reads.end()), reads.end());
    std::array<uint32_t, kGroups2201> used{};
    uint32_t most = 1;
    for (uint32_t block : reads) {
      // 2201: 16 groups with one row read a cycle. 3510: 8 groups of two banks, a row of each bank
      // a cycle.
      most = std::max(most, ++used[block % kGroups2201]);
    }
    cycles += most == 1 && meets ? 2 : most;
  }
  return static_cast<double>(cycles) / static_cast<double>(repeats);
}

}  // namespace executor
