// The bytes that an instruction reads and writes, as few strided runs: what every observer that
// looks at memory works on. Computed from the instruction alone; no memory is touched here.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "instr.h"

namespace executor {

enum class Space : uint8_t { kUb, kGm };
enum class Which : uint8_t { kDst, kSrc0, kSrc1 };

// outer_count x inner_count runs of run_bytes each. UB bases count from the start of UB, GM bases
// are device addresses.
struct Access {
  uint64_t base = 0;
  uint64_t run_bytes = 0;
  uint32_t inner_count = 1;
  uint32_t outer_count = 1;
  int64_t inner_stride = 0;
  int64_t outer_stride = 0;
  Space space = Space::kUb;
  bool write = false;
  Which which = Which::kDst;

  bool IsSingleRun() const { return inner_count == 1 && outer_count == 1; }
  uint64_t Runs() const { return static_cast<uint64_t>(inner_count) * outer_count; }
  uint64_t Bytes() const { return run_bytes * Runs(); }
  uint64_t Low() const;   // the first byte
  uint64_t High() const;  // one past the last byte

  template <class F>
  void ForEachRun(F&& visit) const {
    for (uint32_t o = 0; o < outer_count; ++o) {
      for (uint32_t i = 0; i < inner_count; ++i) {
        const uint64_t at = base + static_cast<uint64_t>(o * outer_stride + i * inner_stride);
        visit(at, at + run_bytes);
      }
    }
  }
};

class AccessList {
 public:
  void Add(Access access);  // merged into fewer runs where they touch
  void Clear() {
    size_ = 0;
    more_.clear();
  }
  size_t size() const { return size_; }
  const Access& operator[](size_t i) const { return i < kInline ? inline_[i] : more_[i - kInline]; }

 private:
  static constexpr size_t kInline = 5;
  size_t size_ = 0;
  std::array<Access, kInline> inline_;
  std::vector<Access> more_;
};

// The lanes of a vector instruction: `repeats` repeats with the same lanes, then one with
// `tail_lanes` of them.
struct Lanes {
  uint32_t per_repeat = 0;  // at full mask
  uint32_t repeats = 0;
  uint32_t lanes = 0;       // active in each, counted from lane 0, when contiguous
  uint32_t tail_lanes = 0;  // of one further repeat; 0 when there is none
  bool contiguous = true;
  uint64_t bits[2] = {0, 0};

  bool Active(uint32_t lane) const { return (bits[lane >> 6] >> (lane & 63)) & 1; }
  uint32_t Repeats() const { return repeats + (tail_lanes != 0); }
  uint64_t Elements() const;  // active lanes over all repeats
};

Lanes LanesOf(const Instr& instr);
void FootprintOf(const Instr& instr, AccessList& list);

// The bytes that one Gather reads, known only from the offsets in UB at the time it runs.
void AddGatherSources(const Instr& instr, const uint8_t* ub, AccessList& list);

}  // namespace executor
