// An estimate of L2: which lines a transfer finds there, and which dirty ones it pushes out. Least
// recently used over the whole cache, by a count of the bytes brought in since a line was last
// touched.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "timeline.h"

namespace executor {

class L2Cache {
 public:
  explicit L2Cache(uint64_t bytes) : capacity_(bytes) {}

  struct Traffic {
    uint64_t hbm_read = 0;
    uint64_t hbm_write = 0;
  };

  Traffic Touch(const Step& step);

 private:
  struct Line {
    uint64_t stamp = 0;  // brought_in_ when last touched, plus 1; 0: never
    bool dirty = false;
  };
  struct Dirty {
    uint64_t stamp = 0;
    Line* line = nullptr;
  };

  Line& At(uint64_t address);
  uint64_t EvictDirty();

  uint64_t capacity_;
  uint64_t brought_in_ = 0;
  // By 1 GiB of the address space, so that a buffer's lines are one array.
  std::unordered_map<uint64_t, std::vector<Line>> lines_;
  std::deque<Dirty> dirty_;
};

}  // namespace executor
