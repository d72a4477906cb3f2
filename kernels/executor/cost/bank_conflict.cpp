// See bank_conflict.h. Looks at the first repeat: in contiguous operands every further one meets in
// the same way.
#include "bank_conflict.h"

#include <algorithm>
#include <array>
#include <vector>

namespace executor {

namespace {

constexpr uint32_t kGroups2201 = 16;
constexpr uint32_t kThirdBytes = 64 * 1024;  // the banks of a group repeat every 64 KiB
constexpr uint32_t kPeriodBytes = kGroups2201 * kBlockBytes;

// The blocks of one repeat that an operand takes part with, each once.
std::vector<uint32_t> Blocks(const UbOperand& operand, uint32_t count) {
  std::vector<uint32_t> blocks;
  for (uint32_t i = 0; i < count; ++i) {
    blocks.push_back((operand.offset + i * operand.blk_stride * kBlockBytes) / kBlockBytes);
    if (operand.blk_stride == 0) break;
  }
  return blocks;
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

uint32_t BankConflictCycles(const Instr& instr, int32_t arch) {
  if (instr.op == Op::kBrcb || instr.op == Op::kGather || !instr.src0.present) return 1;
  std::vector<uint32_t> reads = Blocks(instr.src0, BlocksOfRepeat(instr, instr.src0));
  if (instr.src1.present) {
    const std::vector<uint32_t> more = Blocks(instr.src1, BlocksOfRepeat(instr, instr.src1));
    reads.insert(reads.end(), more.begin(), more.end());
  }
  std::sort(reads.begin(), reads.end());
  reads.erase(std::unique(reads.begin(), reads.end()), reads.end());
  std::array<uint32_t, kGroups2201> used{};
  uint32_t most = 1;
  for (uint32_t block : reads) {
    // 2201: 16 groups with one row read a cycle. 3510: 8 groups of two banks, a row of each bank a
    // cycle.
    most = std::max(most, ++used[block % kGroups2201]);
  }
  if (arch == 2201 && most == 1 && !IsReduction(instr.op)) {
    const bool meets = WriteMeetsRead(instr.dst, instr.src0) ||
                       (instr.src1.present && WriteMeetsRead(instr.dst, instr.src1));
    if (meets) most = 2;
  }
  return most;
}

}  // namespace executor
