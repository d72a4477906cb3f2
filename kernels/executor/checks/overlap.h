// The rule of Ascend C for operands that share addresses in one instruction with repeats.
#pragma once

#include "../core/footprint.h"

namespace executor {

enum class Overlap : uint8_t {
  kNone,
  kPartial,    // within a repeat the operands share some bytes but do not coincide
  kCarried,    // a repeat writes what a later repeat reads
  kForbidden,  // an instruction that allows no overlap at all
};

// `source` is the instruction's src0 or src1.
Overlap FindOverlap(const Instr& instr, const UbOperand& source);

}  // namespace executor
