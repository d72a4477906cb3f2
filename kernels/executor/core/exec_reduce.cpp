// Vector instructions that move values between lanes: the reductions, in the documented order, Brcb
// and Gather.
#include <array>

#include "exec.h"
#include "formats.h"

namespace executor {

namespace {

constexpr uint32_t kMostLanes = 128;

struct Repeat {
  uint32_t index = 0;
  bool tail = false;
};

bool IsActive(const Lanes& lanes, Repeat repeat, uint32_t lane) {
  if (repeat.tail) return lane < lanes.tail_lanes;
  return lanes.contiguous ? lane < lanes.lanes : lanes.Active(lane);
}

// A repeat's lanes as floats, the inactive ones as zero.
template <class Format>
void Fetch(const Instr& instr, uint8_t* ub, const Lanes& lanes, Repeat repeat,
           std::array<float, kMostLanes>& values) {
  const OperandWalk source(instr.src0, ub);
  for (uint32_t lane = 0; lane < lanes.per_repeat; ++lane) {
    values[lane] = 0.0f;
    if (!IsActive(lanes, repeat, lane)) continue;
    typename Format::Storage stored;
    std::memcpy(&stored, source.At(repeat.index, lane), sizeof(stored));
    values[lane] = Format::Load(stored);
  }
}

// Adds neighbours, then neighbours of the sums, until `groups` values are left; each addition
// rounds to the format.
template <class Format>
void PairwiseTree(std::array<float, kMostLanes>& values, uint32_t count, uint32_t groups,
                  bool saturate) {
  for (; count > groups; count /= 2) {
    for (uint32_t i = 0; i < count / 2; ++i) {
      values[i] = Format::Load(Format::Store(values[2 * i] + values[2 * i + 1], saturate));
    }
  }
}

template <class Format>
void Reduce(const Instr& instr, uint8_t* ub, int32_t arch) {
  using T = typename Format::Storage;
  const Lanes lanes = LanesOf(instr);
  const uint32_t width = instr.op == Op::kWholeReduceSum   ? lanes.per_repeat
                         : instr.op == Op::kBlockReduceSum ? kBlockBytes / sizeof(T)
                                                           : 2;
  const uint32_t groups = lanes.per_repeat / width;
  const int64_t unit = instr.op == Op::kWholeReduceSum
                           ? static_cast<int64_t>(sizeof(T))
                           : (instr.op == Op::kBlockReduceSum ? 8 * sizeof(T) : 128);
  std::array<float, kMostLanes> values;
  for (uint32_t r = 0; r < lanes.Repeats(); ++r) {
    const Repeat repeat{r, r == lanes.repeats};
    Fetch<Format>(instr, ub, lanes, repeat, values);
    PairwiseTree<Format>(values, lanes.per_repeat, groups, instr.saturate);
    T* dst = reinterpret_cast<T*>(ub + instr.dst.offset + r * unit * instr.dst.rep_stride);
    for (uint32_t group = 0; group < groups; ++group) {
      bool active = arch == 3510 && instr.op != Op::kWholeReduceSum;
      for (uint32_t lane = group * width; lane < (group + 1) * width && !active; ++lane) {
        active = IsActive(lanes, repeat, lane);
      }
      // 2201 leaves the result of a group without active lanes as it was, 3510 writes 0.
      if (active) dst[group] = Format::Store(values[group], instr.saturate);
    }
  }
}

template <class T>
void Broadcast(const Instr& instr, uint8_t* ub) {
  const T* src = reinterpret_cast<const T*>(ub + instr.src0.offset);
  for (int64_t repeat = 0; repeat < instr.repeat; ++repeat) {
    for (int64_t block = 0; block < 8; ++block) {
      const int64_t at = repeat * instr.dst.rep_stride + block * instr.dst.blk_stride;
      T* dst = reinterpret_cast<T*>(ub + instr.dst.offset + at * kBlockBytes);
      std::fill_n(dst, kBlockBytes / sizeof(T), src[repeat * 8 + block]);
    }
  }
}

template <class T>
void GatherElements(const Instr& instr, uint8_t* ub) {
  const Lanes lanes = LanesOf(instr);
  const OperandWalk dst(instr.dst, ub);
  const uint8_t* offsets = ub + instr.src1.offset;
  for (uint32_t r = 0; r < lanes.Repeats(); ++r) {
    for (uint32_t lane = 0; lane < lanes.per_repeat; ++lane) {
      if (!IsActive(lanes, Repeat{r, r == lanes.repeats}, lane)) continue;
      uint32_t offset = 0;
      std::memcpy(&offset, offsets + (r * lanes.per_repeat + lane) * 4ull, 4);
      std::memcpy(dst.At(r, lane), ub + instr.src0.offset + instr.gather_base + offset, sizeof(T));
    }
  }
}

}  // namespace

void ExecuteReduction(const Instr& instr, uint8_t* ub, int32_t arch) {
  const bool narrow = SizeOf(instr.dst.type) == 2;
  if (instr.op == Op::kBrcb) {
    return narrow ? Broadcast<uint16_t>(instr, ub) : Broadcast<uint32_t>(instr, ub);
  }
  if (instr.op == Op::kGather) {
    return narrow ? GatherElements<uint16_t>(instr, ub) : GatherElements<uint32_t>(instr, ub);
  }
  if (instr.dst.type == Type::kHalf) return Reduce<HalfFormat>(instr, ub, arch);
  if (instr.dst.type == Type::kFloat) return Reduce<FloatFormat>(instr, ub, arch);
}

}  // namespace executor
