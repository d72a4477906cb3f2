// See l2.h. A line that is written whole is not read from HBM first; partly written lines are rare
// and treated alike.
#include "l2.h"

namespace executor {

namespace {

constexpr int kRegionBits = 24;  // 16 MiB of lines an array
constexpr uint64_t kLinesPerRegion = (1ull << kRegionBits) / kL2LineBytes;

}  // namespace

L2Cache::Line& L2Cache::At(uint64_t address) {
  std::vector<Line>& region = lines_[address >> kRegionBits];
  if (region.empty()) region.resize(kLinesPerRegion);
  return region[(address & ((1ull << kRegionBits) - 1)) / kL2LineBytes];
}

uint64_t L2Cache::EvictDirty() {
  uint64_t written = 0;
  while (!dirty_.empty() && brought_in_ + 1 - dirty_.front().stamp >= capacity_) {
    Line& line = *dirty_.front().line;
    if (line.dirty && line.stamp == dirty_.front().stamp) {
      line.dirty = false;
      written += kL2LineBytes;
    }
    dirty_.pop_front();
  }
  return written;
}

L2Cache::Traffic L2Cache::Touch(const Step& step) {
  Traffic traffic;
  uint64_t last = ~0ull;
  step.gm.ForEachRun([&](uint64_t low, uint64_t high) {
    for (uint64_t at = low / kL2LineBytes; at * kL2LineBytes < high; ++at) {
      if (at == last) continue;  // the row before ended in this line
      last = at;
      Line& line = At(at * kL2LineBytes);
      const bool hit = line.stamp != 0 && brought_in_ + 1 - line.stamp < capacity_;
      if (!step.write && !hit) traffic.hbm_read += kL2LineBytes;
      if (step.bypass_l2 && !hit) {
        if (step.write) traffic.hbm_write += kL2LineBytes;
        continue;
      }
      if (!hit) {
        brought_in_ += kL2LineBytes;
        line.dirty = false;
      }
      line.stamp = brought_in_ + 1;
      line.dirty = line.dirty || step.write;
      if (line.dirty) dirty_.push_back({line.stamp, &line});
    }
  });
  traffic.hbm_write += EvictDirty();
  return traffic;
}

}  // namespace executor
