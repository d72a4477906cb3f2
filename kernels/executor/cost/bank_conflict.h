// How many cycles a repeat of a vector instruction takes because of what its operands read in UB.
#pragma once

#include "../core/footprint.h"

namespace executor {

// The mean over the repeats; 1 when nothing meets. The bank layouts are those of ADK
// 避免bank冲突（NPU架构版本2201）.md and （NPU架构版本3510）.md.
double BankConflictCycles(const Instr& instr, int32_t arch);

// Operands that are read anew in every repeat. One whose strides are zero is read once an
// instruction (BP bank_conflict_ub README.md), and so is one address that two operands share.
int OperandsRead(const Instr& instr, bool reads_dst);

}  // namespace executor
