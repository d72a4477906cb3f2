// The fixed forms in which findings name cores, tensors and places.
#include "report.h"

#include <cstring>

namespace executor {

void CoreCounts::Add(const CoreCounts& other) {
  gm_read_bytes += other.gm_read_bytes;
  gm_write_bytes += other.gm_write_bytes;
  loads += other.loads;
  stores += other.stores;
  for (size_t i = 0; i < dma_sizes.size(); ++i) dma_sizes[i] += other.dma_sizes[i];
  for (size_t i = 0; i < instructions.size(); ++i) {
    instructions[i] += other.instructions[i];
    repeats[i] += other.repeats[i];
  }
  set_flags += other.set_flags;
  wait_flags += other.wait_flags;
  v_barriers += other.v_barriers;
  other_barriers += other.other_barriers;
  sync_alls += other.sync_alls;
  cross_core_sets += other.cross_core_sets;
  cross_core_waits += other.cross_core_waits;
  ub_scalar_accesses += other.ub_scalar_accesses;
  gm_scalar_accesses += other.gm_scalar_accesses;
  register_sets += other.register_sets;
}

uint64_t CoreCounts::VectorRepeats() const {
  uint64_t sum = 0;
  for (uint64_t each : repeats) sum += each;
  return sum;
}

bool Findings::IsNew(const char* check, int kind, Where where, Where other) {
  const Key key{check, kind, where.file_name(), where.line(), other.file_name(), other.line()};
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [at, is_new] = known_.try_emplace(key, list_.size());
  if (is_new && list_.size() < kMost) {
    list_.push_back({check, "", 1});
    return true;
  }
  if (at->second < list_.size()) {
    ++list_[at->second].times;
  } else {
    ++left_out_;
  }
  return false;
}

void Findings::Add(const char* check, std::string text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Finding& finding : list_) {
    if (finding.text.empty() && finding.check == check) {
      finding.text = std::move(text);
      return;
    }
  }
  if (list_.size() < kMost) list_.push_back({check, std::move(text), 1});
}

std::vector<Finding> Findings::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (left_out_ != 0) {
    list_.push_back({"sync", "more findings were left out", left_out_});
  }
  return std::move(list_);
}

std::string Place(Where where) {
  const char* slash = std::strrchr(where.file_name(), '/');
  const char* file = slash != nullptr ? slash + 1 : where.file_name();
  return std::string(file) + ":" + std::to_string(where.line());
}

std::string CoreText(const CoreView& core) { return "core " + std::to_string(core.block); }

std::string UbText(const CoreView& core, int16_t buffer, uint64_t low, uint64_t high) {
  std::string text = "UB bytes [" + std::to_string(low) + ", " + std::to_string(high) + ")";
  if (buffer < 0 || static_cast<size_t>(buffer) >= core.ub_buffers.size()) return text;
  const UbBuffer& known = core.ub_buffers[static_cast<size_t>(buffer)];
  const int64_t offset = static_cast<int64_t>(low) - known.offset;
  return text + ", offset " + std::to_string(offset) + " of " + known.kind + " buffer " +
         std::to_string(buffer) + " (" + Place(known.where) + ")";
}

std::string GmText(const GlobalMemory& memory, uint64_t low, uint64_t high) {
  const GmBuffer* buffer = memory.Near(low);
  if (buffer == nullptr) {
    return "GM address " + std::to_string(low) + ", which belongs to no buffer";
  }
  const int64_t offset = static_cast<int64_t>(low - buffer->address);
  return buffer->name + " bytes [" + std::to_string(offset) + ", " +
         std::to_string(offset + static_cast<int64_t>(high - low)) + ")";
}

const UbOperand& OperandOf(const Instr& instr, Which which) {
  switch (which) {
    case Which::kSrc0:
      return instr.src0;
    case Which::kSrc1:
      return instr.src1;
    case Which::kDst:
      break;
  }
  return instr.dst;
}

const char* Name(Which which) {
  return which == Which::kDst ? "dst" : which == Which::kSrc0 ? "src0" : "src1";
}

}  // namespace executor
