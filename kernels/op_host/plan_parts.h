// The plan's inner parts, shared by its files only: what a candidate cut costs, and how much
// unified buffer it takes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "plan.h"

namespace group_norm_grad::plan_internal {

constexpr int64_t kBlockBytes = 32;
constexpr int64_t kFloatBytes = 4;
constexpr int64_t kNarrowLanes =
    32;  // rows of at most so many float32 lanes are summed eight at a time

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0); }
constexpr int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }
// 0 to 2^62, so that sums of a few do not overflow.
constexpr int64_t kHuge = int64_t{1} << 62;
constexpr int64_t SaturatingMul(int64_t a, int64_t b) {
  const int64_t product = CheckedMul(a, b);
  return product < 0 || product > kHuge ? kHuge : product;
}

// What the plan compares: the time of the busiest core, as bytes that it could have moved
// meanwhile.
struct CostRates {
  // A core's share of the HBM rate is about 37 GB/s on every platform here, so 1 us is 37 KB.
  static constexpr double kSyncBytes =
      25e3;  // a wait for all cores and the second stage behind it, about 0.7 us
  static constexpr double kFlightBytes = 55e3;   // of a flag between cores and what is behind it
  static constexpr double kOthersWeight = 0.05;  // of what is early beside the owners
  static constexpr double kDmaBytes =
      2000;  // issue and start of one DMA that others overlap, about 54 ns
  static constexpr double kL2ReadWeight =
      0.35;  // of an HBM byte: published peaks of 1.8 and 5.2 TB/s
  static constexpr double kConvertWeight =
      0.08;  // 16-bit data converted a second time in the second pass
  static constexpr double kCycleBytes = 20;  // of the vector unit: 37 GB/s at 1.8 GHz
  // Cycles of the vector unit on 16-bit data in both passes: repeats of 64 elements, what a group
  // takes besides among them, the starts of the instructions on one set of float32 copies, and of
  // those that finish trees of sums.
  static constexpr double kNarrowRepeats = 14;
  static constexpr double kUnitStarts = 430;
  static constexpr double kTreeStarts = 230;
  static constexpr double kFirstPassShare = 0.58;  // of the vector unit's time
  static constexpr double kBareVectorShare = 0.1;  // of it, beside which nothing is moved
  // Of a cut that reads twice from L2 what another one keeps: L2 is the least certain of the model.
  static constexpr double kRereadRisk = 0.1;
  static constexpr double kShallowRing =
      0.15;  // two slots only: loads wait for stores now and then
  // Groups in rounds against one exchange: rates in GB/s and times in ns, as the executor's model
  // has them for 2201.
  static constexpr double kHbmEfficiency = 0.83;
  static constexpr double kCoreHbmRate = 43;
  static constexpr double kCoreL2Rate = 118;
  static constexpr double kCoreWriteRate = 51;
  static constexpr double kSyncNs = 1500;
  static constexpr double kRoundNs = 650;         // the sums' way out and in, and their visit's end
  static constexpr double kRoundsLoss = 1.06;     // of two kinds of loads in one queue
  static constexpr double kShallowRounds = 1.08;  // of the vector unit's time with two slots only
  static constexpr double kMeanExtraLag = 1.5;    // pieces
};

struct Sizes {
  const Problem& problem;
  const Platform& platform;
  int64_t element_bytes;
  int64_t block;  // elements of 32 bytes
  int64_t group_elems;
  int64_t groups;
  int64_t reads;   // data tensors that the first pass reads: grad_out, and input where something
                   // needs it
  int64_t writes;  // grad_input or none

  Sizes(const Problem& problem_in, const Platform& platform_in);
  bool WantInput() const { return problem.output_mask[kGradInput]; }
  bool WantSums() const {
    return problem.output_mask[kGradWeight] || problem.output_mask[kGradBias];
  }
  bool IsFloat() const { return problem.dtype == DType::kFloat32; }
};

// Adds up buffers as UbArena hands them out.
class UbCount {
 public:
  UbCount& Take(int64_t elems, int64_t element_bytes) {
    bytes_ += RoundUp(elems * element_bytes, kBlockBytes);
    return *this;
  }
  // A buffer in its half of the bank groups.
  UbCount& TakeHalf(int64_t elems, int64_t element_bytes, int64_t half) {
    const int64_t start = half * kBankGroupsBytes / 2;
    bytes_ = RoundUp(std::max(bytes_ - start, int64_t{0}), kBankGroupsBytes) + start;
    return Take(elems, element_bytes);
  }
  // The ring, then the work buffers and the scratch: what every schedule takes first, in this
  // order.
  UbCount& TakeShared(const GroupNormGradTiling& tiling, int64_t element_bytes) {
    for (int64_t half : {0, 1}) {
      for (int32_t i = 0; i < tiling.slots; ++i) TakeHalf(tiling.slot_elems, element_bytes, half);
    }
    if (element_bytes < kFloatBytes) {
      TakeHalf(tiling.work_elems, kFloatBytes, 0).TakeHalf(tiling.work_elems, kFloatBytes, 1);
    }
    return TakeHalf(tiling.scratch_elems, kFloatBytes, 1);
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

struct Candidate {
  double cost = 0;
  int32_t blocks = 0;
  GroupNormGradTiling tiling{};
};

// Fields that every schedule sets alike.
GroupNormGradTiling CommonTiling(const Sizes& sizes);

// The best cut of each kind; nothing when the problem does not fit it.
std::optional<Candidate> BestGroupTiles(const Sizes& sizes);
Candidate BestPieces(const Sizes& sizes);

}  // namespace group_norm_grad::plan_internal
