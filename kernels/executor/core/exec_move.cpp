// Transfers between GM and UB, and the scalar unit's single-element reads and writes.
#include <cstring>
#include <mutex>

#include "exec.h"
#include "formats.h"

namespace executor {

namespace {

void FillPattern(uint8_t* at, uint32_t bytes, uint64_t bits, uint32_t element) {
  for (uint32_t i = 0; i + element <= bytes; i += element) std::memcpy(at + i, &bits, element);
}

// One row of DataCopyPad. What the pages leave undefined is filled with NaN patterns.
void LoadRow(const Dma& dma, uint32_t element, uint8_t* dst, const uint8_t* src) {
  const uint32_t payload = dma.left_bytes + dma.block_bytes;
  const uint32_t bytes = payload + dma.right_bytes;
  const uint32_t padded = (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  if (dma.is_pad) {
    FillPattern(dst, dma.left_bytes, dma.pad_bits, element);
    FillPattern(dst + payload, padded - payload, dma.pad_bits, element);
  } else if (dma.left_bytes == 0 && dma.right_bytes == 0) {
    uint64_t first = 0;
    std::memcpy(&first, src, element);
    FillPattern(dst + payload, padded - payload, first, element);
  } else {
    std::memset(dst, 0xff, dma.left_bytes);
    std::memset(dst + payload, 0xff, padded - payload);
  }
  std::memcpy(dst + dma.left_bytes, src, dma.block_bytes);
}

std::mutex atomic_add;  // cores on other host threads may add to the same bytes

template <class Format>
void AddRow(uint8_t* dst, const uint8_t* src, uint32_t bytes, bool saturate) {
  using T = typename Format::Storage;
  for (uint32_t i = 0; i + sizeof(T) <= bytes; i += sizeof(T)) {
    T left;
    T right;
    std::memcpy(&left, dst + i, sizeof(T));
    std::memcpy(&right, src + i, sizeof(T));
    left = Format::Store(Format::Load(left) + Format::Load(right), saturate);
    std::memcpy(dst + i, &left, sizeof(T));
  }
}

}  // namespace

void ExecuteDma(const Instr& instr, uint8_t* ub, const GlobalMemory& memory) {
  const Dma& dma = instr.dma;
  const bool load = instr.op == Op::kLoad;
  const UbOperand& operand = load ? instr.dst : instr.src0;
  for (uint32_t row = 0; row < dma.block_count && dma.block_bytes != 0; ++row) {
    const uint64_t address = instr.gm.address + static_cast<uint64_t>(row * dma.gm_stride);
    uint8_t* gm = memory.Host(address, address + dma.block_bytes);
    uint8_t* local = ub + operand.offset + row * dma.ub_stride;
    if (load) {
      LoadRow(dma, SizeOf(instr.gm.type), local, gm);
    } else if (dma.atomic == Atomic::kNone) {
      std::memcpy(gm, local, dma.block_bytes);
    } else {
      const std::lock_guard<std::mutex> lock(atomic_add);
      WithFormat(dma.atomic_type, [&](auto format) {
        AddRow<decltype(format)>(gm, local, dma.block_bytes, instr.saturate);
      });
    }
  }
}

uint64_t ExecuteElement(const Instr& instr, uint8_t* ub, const GlobalMemory& memory) {
  uint64_t bits = 0;
  switch (instr.op) {
    case Op::kGetValue:
      std::memcpy(&bits, ub + instr.src0.offset, SizeOf(instr.src0.type));
      break;
    case Op::kSetValue:
      std::memcpy(ub + instr.dst.offset, &instr.scalar_bits, SizeOf(instr.dst.type));
      break;
    case Op::kGmGetValue: {
      const uint32_t bytes = SizeOf(instr.gm.type);
      std::memcpy(&bits, memory.Host(instr.gm.address, instr.gm.address + bytes), bytes);
      break;
    }
    case Op::kGmSetValue: {
      const uint32_t bytes = SizeOf(instr.gm.type);
      std::memcpy(memory.Host(instr.gm.address, instr.gm.address + bytes), &instr.scalar_bits,
                  bytes);
      break;
    }
    default:
      break;
  }
  return bits;
}

}  // namespace executor
