// What the cost recorder keeps of each core's program, and what the simulation makes of it. Plain
// data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../core/footprint.h"
#include "constants.h"

namespace executor {

enum class StepKind : uint8_t {
  kScalar,
  kVector,
  kDma,
  kSetFlag,
  kWaitFlag,
  kBarrier,
  kBarrierAll,
  kSyncAll,
  kCrossCoreSet,
  kCrossCoreWait
};

struct Step {
  StepKind kind = StepKind::kScalar;
  Pipe pipe = Pipe::kS;
  Op op = Op::kAdd;
  uint8_t flag = 0;  // event index * 8 + id, or the id of a flag between cores
  bool write = false;
  bool bypass_l2 = false;
  bool reduction = false;
  float repeats = 0;  // of a vector instruction, in cycles
  uint32_t rows = 0;
  uint64_t bytes = 0;  // of a DMA, rounded up to bursts
  Access gm;
};

struct MemorySystem {
  double hbm_bytes_per_ns = 0;
  double l2_bytes_per_ns = 0;
  double clock_ghz = 0;
  uint64_t l2_bytes = 0;
};

struct Slice {  // of the trace
  int32_t core = 0;
  Pipe pipe = Pipe::kS;
  Op op = Op::kAdd;
  double start_ns = 0;
  double end_ns = 0;
};

// What all cores do between two SyncAlls, flags between cores left out, each pipe as if it had the
// memory to itself.
struct Stretch {
  double hbm_bytes = 0;
  double l2_bytes = 0;
  double pipe_ns[kPipes] = {0, 0, 0, 0};
};

struct Simulated {
  double cores_ns = 0;                    // from the first core's start to the last one's end
  double busy_ns[kPipes] = {0, 0, 0, 0};  // summed over cores
  double hbm_read_bytes = 0;
  double hbm_write_bytes = 0;
  double l2_bytes = 0;  // all DMA traffic, as bursts
  std::vector<Slice> slices;
  std::vector<Stretch> stretches;
};

// One line of the reuse estimate: the smallest burst, which is also what an L2 line is filled by.
inline constexpr uint64_t kL2LineBytes = kSectorBytes;

Simulated Simulate(const std::vector<std::vector<Step>>& cores, const CostConstants& constants,
                   Corner corner, const MemorySystem& memory, size_t most_slices);

}  // namespace executor
