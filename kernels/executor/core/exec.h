// What instructions do to memory, once their bytes are known to exist. No schedule and no check
// here.
#pragma once

#include <cstdint>

#include "instr.h"
#include "memory.h"

namespace executor {

void ExecuteVector(const Instr& instr, uint8_t* ub, int32_t arch);
void ExecuteReduction(const Instr& instr, uint8_t* ub, int32_t arch);
void ExecuteDma(const Instr& instr, uint8_t* ub, const GlobalMemory& memory);
uint64_t ExecuteElement(const Instr& instr, uint8_t* ub, const GlobalMemory& memory);

}  // namespace executor
