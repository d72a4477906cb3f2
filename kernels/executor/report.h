// What a run found and counted: the result of every launch, read by Python, the tests and the
// loopback device. Plain data and its collection; no check lives here.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "core/observer.h"

namespace executor {

struct Finding {
  std::string check;   // bounds, params, race, init or sync
  std::string text;    // what, core, pipe, tensor, offset and file:line
  uint64_t times = 0;  // how often, over all cores
};

constexpr int kDmaSizeBins = 24;  // bin b counts transfers of [2^b, 2^(b+1)) bytes

struct CoreCounts {
  uint64_t gm_read_bytes = 0;
  uint64_t gm_write_bytes = 0;
  uint64_t loads = 0;
  uint64_t stores = 0;
  std::array<uint64_t, kDmaSizeBins> dma_sizes{};
  std::array<uint64_t, static_cast<size_t>(Op::kCount)> instructions{};  // by Op
  std::array<uint64_t, static_cast<size_t>(Op::kCount)> repeats{};       // of 256 B, by Op
  uint64_t set_flags = 0;
  uint64_t wait_flags = 0;
  uint64_t v_barriers = 0;
  uint64_t other_barriers = 0;
  uint64_t sync_alls = 0;
  uint64_t cross_core_sets = 0;
  uint64_t cross_core_waits = 0;
  uint64_t ub_scalar_accesses = 0;
  uint64_t gm_scalar_accesses = 0;
  uint64_t register_sets = 0;

  void Add(const CoreCounts& other);
  uint64_t VectorRepeats() const;
};

// Collects findings of all checks and cores; a finding of the same kind at the same places is only
// counted.
class Findings {
 public:
  // Whether this one is new, so that its text is worth building. `other` is a second place, for a
  // race.
  bool IsNew(const char* check, int kind, Where where, Where other = Where());
  void Add(const char* check,
           std::string text);  // right after IsNew said so, or for one without a place
  std::vector<Finding> Take();

 private:
  using Key = std::tuple<const char*, int, const char*, uint32_t, const char*, uint32_t>;
  static constexpr size_t kMost = 200;

  std::mutex mutex_;
  std::map<Key, size_t> known_;
  std::vector<Finding> list_;
  uint64_t left_out_ = 0;
};

std::string Place(Where where);              // file:line, without directories
std::string CoreText(const CoreView& core);  // "core 3"
std::string UbText(const CoreView& core, int16_t buffer, uint64_t low, uint64_t high);
std::string GmText(const GlobalMemory& memory, uint64_t low, uint64_t high);
const UbOperand& OperandOf(const Instr& instr, Which which);
const char* Name(Which which);

}  // namespace executor
