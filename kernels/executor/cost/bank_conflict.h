// How many cycles a repeat of a vector instruction takes because its operands meet in the banks of
// UB.
#pragma once

#include "../core/footprint.h"

namespace executor {

// 1 when nothing meets. The bank layouts are those of ADK 避免bank冲突（NPU架构版本2201）.md and
// （NPU架构版本3510）.md.
uint32_t BankConflictCycles(const Instr& instr, int32_t arch);

}  // namespace executor
