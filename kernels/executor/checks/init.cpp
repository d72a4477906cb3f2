// See init.h. A lane that DataCopyPad leaves undefined, or fills with the first element, counts as
// never written.
#include "init.h"

#include <bit>

namespace executor {

namespace {

constexpr char kCheck[] = "init";
enum Kind { kUbRead, kGmRead, kOutput };

}  // namespace

void ByteSet::Set(uint64_t low, uint64_t high, bool value) {
  while (low < high) {
    const uint64_t bit = low & 63;
    const uint64_t take = std::min<uint64_t>(64 - bit, high - low);
    std::atomic_ref<uint64_t> word(words_[low >> 6]);
    if (take == 64) {
      word.store(value ? ~0ull : 0, std::memory_order_relaxed);
    } else {
      const uint64_t bits = ((1ull << take) - 1) << bit;
      if (value) {
        word.fetch_or(bits, std::memory_order_relaxed);
      } else {
        word.fetch_and(~bits, std::memory_order_relaxed);
      }
    }
    low += take;
  }
}

uint64_t ByteSet::FirstClear(uint64_t low, uint64_t high) const {
  while (low < high) {
    const uint64_t bit = low & 63;
    const uint64_t take = std::min<uint64_t>(64 - bit, high - low);
    const uint64_t clear = ~words_[low >> 6] >> bit;
    if (clear != 0) {
      const uint64_t first = static_cast<uint64_t>(std::countr_zero(clear));
      if (first < take) return low + first;
    }
    low += take;
  }
  return high;
}

uint64_t ByteSet::CountClear(uint64_t bytes) const {
  uint64_t set = 0;
  for (uint64_t word : words_) set += static_cast<uint64_t>(std::popcount(word));
  return bytes - set;
}

void InitCheck::BeginLaunch(const LaunchView& launch) {
  memory_ = &launch.memory;
  blocks_ = launch.blocks;
  ub_.resize(static_cast<size_t>(launch.blocks));
  for (const GmBuffer& buffer : launch.memory.buffers()) {
    const bool known = buffer.role == BufferRole::kInput;
    gm_.push_back(known ? nullptr : std::make_unique<ByteSet>(buffer.bytes));
  }
}

void InitCheck::BeginCore(const CoreView& core) {
  ub_[static_cast<size_t>(core.block)] = std::make_unique<ByteSet>(kMostUbBytes);
}

void InitCheck::OnInitBuffer(const CoreView& core, const UbBuffer& buffer) {
  const uint64_t end = static_cast<uint64_t>(buffer.offset) + buffer.bytes;
  if (end > kMostUbBytes) return;
  ub_[static_cast<size_t>(core.block)]->Set(buffer.offset, end, false);
}

void InitCheck::OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (!accesses[i].write && instr.op != Op::kForget) Read(core, instr, accesses[i]);
  }
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (accesses[i].write || instr.op == Op::kForget) Write(core, instr, accesses[i]);
  }
}

ByteSet* InitCheck::GmBytes(uint64_t address, uint64_t* base) {
  const GmBuffer* buffer = memory_->Near(address);
  if (buffer == nullptr) return nullptr;
  *base = buffer->address;
  return gm_[static_cast<size_t>(memory_->IndexOf(buffer))].get();
}

void InitCheck::Read(const CoreView& core, const Instr& instr, const Access& access) {
  const bool gm = access.space == Space::kGm;
  uint64_t base = 0;
  const ByteSet* bytes =
      gm ? GmBytes(access.base, &base) : ub_[static_cast<size_t>(core.block)].get();
  if (bytes == nullptr) return;
  if (gm ? memory_->Host(access.Low(), access.High()) == nullptr : access.High() > kMostUbBytes) {
    return;
  }
  bool told = false;
  access.ForEachRun([&](uint64_t low, uint64_t high) {
    if (told) return;
    const uint64_t first = bytes->FirstClear(low - base, high - base) + base;
    if (first == high) return;
    told = true;
    if (!findings_.IsNew(kCheck, gm ? kGmRead : kUbRead, instr.where)) return;
    const std::string what = gm ? GmText(*memory_, first, high)
                                : UbText(core, OperandOf(instr, access.which).buffer, first, high);
    findings_.Add(kCheck, CoreText(core) + ", pipe " + Name(instr.pipe) + ": " + Name(instr.op) +
                              " (" + Place(instr.where) + ") reads " + what +
                              ", which nobody wrote");
  });
}

void InitCheck::Write(const CoreView& core, const Instr& instr, const Access& access) {
  const bool gm = access.space == Space::kGm;
  uint64_t base = 0;
  ByteSet* bytes = gm ? GmBytes(access.base, &base) : ub_[static_cast<size_t>(core.block)].get();
  if (bytes == nullptr) return;
  if (gm ? memory_->Host(access.Low(), access.High()) == nullptr : access.High() > kMostUbBytes) {
    return;
  }
  const Dma& dma = instr.dma;
  const bool undefined_padding = instr.op == Op::kLoad && !dma.is_pad && dma.form == DmaForm::kPad;
  if (!undefined_padding) {
    access.ForEachRun([&](uint64_t low, uint64_t high) {
      bytes->Set(low - base, high - base, instr.op != Op::kForget);
    });
    return;
  }
  for (uint32_t row = 0; row < dma.block_count; ++row) {
    const uint64_t start = instr.dst.offset + static_cast<uint64_t>(row * dma.ub_stride);
    const uint64_t data = start + dma.left_bytes;
    const uint64_t data_end = data + dma.block_bytes;
    const uint64_t end = (data_end + dma.right_bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    bytes->Set(start, end, false);
    bytes->Set(data, data_end, true);
  }
}

void InitCheck::EndCore(const CoreView& core) {
  ub_[static_cast<size_t>(core.block)].reset();
  ++ended_;
}

void InitCheck::EndLaunch() {
  if (ended_ != blocks_) return;  // the kernel did not finish; what it left out says nothing
  for (const GmBuffer& buffer : memory_->buffers()) {
    if (buffer.role != BufferRole::kOutput) continue;
    const ByteSet& bytes = *gm_[static_cast<size_t>(memory_->IndexOf(&buffer))];
    const uint64_t first = bytes.FirstClear(0, buffer.bytes);
    if (first == buffer.bytes) continue;
    findings_.Add(kCheck,
                  "output " + buffer.name + ": " + std::to_string(bytes.CountClear(buffer.bytes)) +
                      " of " + std::to_string(buffer.bytes) +
                      " bytes were never written, the first at byte " + std::to_string(first));
  }
}

}  // namespace executor
