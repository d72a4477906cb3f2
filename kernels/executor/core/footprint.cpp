// Footprints of every operation. Strides and units follow the API pages; nothing is checked or
// executed here.
#include "footprint.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace executor {

namespace {

void Fold(uint64_t& run, uint32_t& count, int64_t stride) {
  if (count <= 1) return;
  if (stride == 0) {
    count = 1;
  } else if (stride > 0 && static_cast<uint64_t>(stride) <= run) {
    run += static_cast<uint64_t>(stride) * (count - 1);
    count = 1;
  }
}

uint32_t WidestElement(const Instr& instr) {
  uint32_t bytes = 1;
  for (const UbOperand* operand : {&instr.dst, &instr.src0, &instr.src1}) {
    if (operand->present) bytes = std::max(bytes, SizeOf(operand->type));
  }
  return bytes;
}

class OperandRuns {
 public:
  OperandRuns(const UbOperand& operand, Which which, bool write, AccessList& list)
      : operand_(operand), list_(list) {
    access_.which = which;
    access_.write = write;
    element_ = SizeOf(operand.type);
    rep_bytes_ = static_cast<int64_t>(operand.rep_stride) * kBlockBytes;
    blk_bytes_ = static_cast<int64_t>(operand.blk_stride) * kBlockBytes;
  }

  void AddLanes(const Lanes& lanes) {
    if (lanes.contiguous) {
      AddContiguous(0, lanes.repeats, lanes.lanes);
    } else {
      AddBits(lanes);
    }
    AddContiguous(lanes.repeats, 1, lanes.tail_lanes);
  }

  // count runs of bytes each, stride bytes apart, from the operand's start.
  void AddRows(uint64_t bytes, uint32_t count, int64_t stride) {
    Add(operand_.offset, bytes, 1, 0, count, stride);
  }

  void AddBlocks(uint32_t blocks, uint32_t repeats) {
    Add(operand_.offset, kBlockBytes, blocks, blk_bytes_, repeats, rep_bytes_);
  }

 private:
  void Add(uint64_t base, uint64_t run, uint32_t inner, int64_t inner_stride, uint32_t outer,
           int64_t outer_stride) {
    if (run == 0 || inner == 0 || outer == 0) return;
    access_.base = base;
    access_.run_bytes = run;
    access_.inner_count = inner;
    access_.inner_stride = inner_stride;
    access_.outer_count = outer;
    access_.outer_stride = outer_stride;
    list_.Add(access_);
  }

  void AddContiguous(uint32_t first, uint32_t repeats, uint32_t lanes) {
    if (lanes == 0 || repeats == 0) return;
    const uint32_t per_block = kBlockBytes / element_;
    const uint32_t blocks = lanes / per_block;
    const uint64_t start = operand_.offset + first * rep_bytes_;
    Add(start, kBlockBytes, blocks, blk_bytes_, repeats, rep_bytes_);
    Add(start + blocks * blk_bytes_, static_cast<uint64_t>(lanes % per_block) * element_, 1, 0,
        repeats, rep_bytes_);
  }

  void AddBits(const Lanes& lanes) {
    const uint32_t per_block = kBlockBytes / element_;
    for (uint32_t lane = 0; lane < lanes.per_repeat;) {
      if (!lanes.Active(lane)) {
        ++lane;
        continue;
      }
      const uint32_t block = lane / per_block;
      uint32_t stop = lane + 1;
      while (stop < (block + 1) * per_block && lanes.Active(stop)) ++stop;
      Add(operand_.offset + block * blk_bytes_ + (lane % per_block) * element_,
          static_cast<uint64_t>(stop - lane) * element_, 1, 0, lanes.repeats, rep_bytes_);
      lane = stop;
    }
  }

  const UbOperand& operand_;
  AccessList& list_;
  Access access_;
  uint32_t element_ = 0;
  int64_t rep_bytes_ = 0;
  int64_t blk_bytes_ = 0;
};

// The groups of `width` lanes that have an active lane, counted from the first group.
uint32_t ActiveGroups(const Lanes& lanes, uint32_t width, bool tail) {
  if (tail) return (lanes.tail_lanes + width - 1) / width;
  if (lanes.contiguous) return (lanes.lanes + width - 1) / width;
  return lanes.per_repeat / width;
}

void AddReductionOutput(const Instr& instr, const Lanes& lanes, AccessList& list) {
  const uint32_t element = SizeOf(instr.dst.type);
  OperandRuns dst(instr.dst, Which::kDst, true, list);
  if (instr.op == Op::kWholeReduceSum) {
    dst.AddRows(element, lanes.Repeats(), static_cast<int64_t>(instr.dst.rep_stride) * element);
    return;
  }
  const bool pair = instr.op == Op::kPairReduceSum;
  const uint32_t width = pair ? 2 : kBlockBytes / element;
  const int64_t stride = static_cast<int64_t>(instr.dst.rep_stride) * (pair ? 128 : 8 * element);
  dst.AddRows(static_cast<uint64_t>(ActiveGroups(lanes, width, false)) * element, lanes.repeats,
              stride);
  if (lanes.tail_lanes != 0) {
    UbOperand tail = instr.dst;
    tail.offset += static_cast<uint32_t>(lanes.repeats * stride);
    OperandRuns(tail, Which::kDst, true, list)
        .AddRows(static_cast<uint64_t>(ActiveGroups(lanes, width, true)) * element, 1, 0);
  }
}

void AddDma(const Instr& instr, AccessList& list) {
  const Dma& dma = instr.dma;
  if (dma.block_count == 0 || dma.block_bytes == 0) return;
  const bool load = instr.op == Op::kLoad;
  Access ub;
  ub.base = instr.dst.present ? instr.dst.offset : instr.src0.offset;
  ub.which = load ? Which::kDst : Which::kSrc0;
  ub.write = load;
  ub.run_bytes = dma.block_bytes;
  if (load) {
    const uint32_t bytes = dma.left_bytes + dma.block_bytes + dma.right_bytes;
    ub.run_bytes = (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  }
  ub.outer_count = dma.block_count;
  ub.outer_stride = dma.ub_stride;
  Access gm;
  gm.space = Space::kGm;
  gm.base = instr.gm.address;
  gm.which = load ? Which::kSrc0 : Which::kDst;
  gm.write = !load;
  gm.run_bytes = dma.block_bytes;
  gm.outer_count = dma.block_count;
  gm.outer_stride = dma.gm_stride;
  list.Add(ub);
  list.Add(gm);
}

void AddElement(const Instr& instr, AccessList& list) {
  Access access;
  const bool gm = instr.op == Op::kGmGetValue || instr.op == Op::kGmSetValue;
  access.space = gm ? Space::kGm : Space::kUb;
  access.write = instr.op == Op::kSetValue || instr.op == Op::kGmSetValue;
  access.which = access.write ? Which::kDst : Which::kSrc0;
  const UbOperand& ub = access.write ? instr.dst : instr.src0;
  access.base = gm ? instr.gm.address : ub.offset;
  access.run_bytes = SizeOf(gm ? instr.gm.type : ub.type);
  list.Add(access);
}

}  // namespace

uint64_t Access::Low() const {
  int64_t low = 0;
  if (inner_stride < 0) low += inner_stride * (inner_count - 1);
  if (outer_stride < 0) low += outer_stride * (outer_count - 1);
  return base + static_cast<uint64_t>(low);
}

uint64_t Access::High() const {
  int64_t high = static_cast<int64_t>(run_bytes);
  if (inner_stride > 0) high += inner_stride * (inner_count - 1);
  if (outer_stride > 0) high += outer_stride * (outer_count - 1);
  return base + static_cast<uint64_t>(high);
}

void AccessList::Add(Access access) {
  Fold(access.run_bytes, access.inner_count, access.inner_stride);
  if (access.inner_count == 1) {
    Fold(access.run_bytes, access.outer_count, access.outer_stride);
    access.inner_count = access.outer_count;
    access.inner_stride = access.outer_stride;
    access.outer_count = 1;
  } else if (access.outer_stride == 0) {
    access.outer_count = 1;
  }
  if (size_ < kInline) {
    inline_[size_] = access;
  } else {
    more_.push_back(access);
  }
  ++size_;
}

uint64_t Lanes::Elements() const {
  const uint64_t each = contiguous ? lanes : std::popcount(bits[0]) + std::popcount(bits[1]);
  return each * repeats + tail_lanes;
}

Lanes LanesOf(const Instr& instr) {
  Lanes lanes;
  lanes.per_repeat = kRepeatBytes / WidestElement(instr);
  if (instr.mask_mode == MaskMode::kCounter) {
    lanes.repeats = static_cast<uint32_t>(instr.count / lanes.per_repeat);
    lanes.lanes = lanes.per_repeat;
    lanes.tail_lanes = static_cast<uint32_t>(instr.count % lanes.per_repeat);
    return lanes;
  }
  lanes.repeats = instr.repeat > 0 ? static_cast<uint32_t>(instr.repeat) : 0;
  lanes.bits[0] = instr.mask[0];
  lanes.bits[1] = lanes.per_repeat > 64 ? instr.mask[1] : 0;
  if (lanes.per_repeat < 64) lanes.bits[0] &= (1ull << lanes.per_repeat) - 1;
  lanes.lanes = std::countr_one(lanes.bits[0]);
  if (lanes.lanes == 64) lanes.lanes += std::countr_one(lanes.bits[1]);
  const uint32_t set = std::popcount(lanes.bits[0]) + std::popcount(lanes.bits[1]);
  lanes.contiguous = set == lanes.lanes;
  return lanes;
}

void FootprintOf(const Instr& instr, AccessList& list) {
  if (IsDma(instr.op)) return AddDma(instr, list);
  if (instr.op >= Op::kGetValue && instr.op <= Op::kGmSetValue) return AddElement(instr, list);
  if (instr.op == Op::kForget) {
    Access access;
    access.base = instr.dst.offset;
    access.run_bytes = instr.dst.end - instr.dst.begin;
    return list.Add(access);
  }
  if (!IsVector(instr.op)) return;
  if (instr.op == Op::kBrcb) {
    const uint32_t repeats = static_cast<uint32_t>(std::max<int64_t>(instr.repeat, 0));
    const uint64_t bytes = 8ull * repeats * SizeOf(instr.src0.type);
    OperandRuns(instr.src0, Which::kSrc0, false, list).AddRows(bytes, 1, 0);
    OperandRuns(instr.dst, Which::kDst, true, list).AddBlocks(8, repeats);
    return;
  }
  const Lanes lanes = LanesOf(instr);
  if (instr.op == Op::kGather) {
    OperandRuns(instr.src1, Which::kSrc1, false, list).AddLanes(lanes);
    OperandRuns(instr.dst, Which::kDst, true, list).AddLanes(lanes);
    return;
  }
  if (instr.src0.present) OperandRuns(instr.src0, Which::kSrc0, false, list).AddLanes(lanes);
  if (instr.src1.present) OperandRuns(instr.src1, Which::kSrc1, false, list).AddLanes(lanes);
  if (IsReduction(instr.op)) return AddReductionOutput(instr, lanes, list);
  const bool reads_dst =
      instr.op == Op::kMulAddDst || instr.op == Op::kFusedMulAdd || instr.op == Op::kAxpy;
  if (reads_dst) OperandRuns(instr.dst, Which::kDst, false, list).AddLanes(lanes);
  OperandRuns(instr.dst, Which::kDst, true, list).AddLanes(lanes);
}

void AddGatherSources(const Instr& instr, const uint8_t* ub, AccessList& list) {
  const Lanes lanes = LanesOf(instr);
  const uint32_t element = SizeOf(instr.src0.type);
  for (uint32_t repeat = 0; repeat < lanes.Repeats(); ++repeat) {
    const bool tail = repeat == lanes.repeats;
    for (uint32_t lane = 0; lane < lanes.per_repeat; ++lane) {
      const bool active = tail               ? lane < lanes.tail_lanes
                          : lanes.contiguous ? lane < lanes.lanes
                                             : lanes.Active(lane);
      if (!active) continue;
      uint32_t offset = 0;
      std::memcpy(&offset, ub + instr.src1.offset + (repeat * lanes.per_repeat + lane) * 4ull, 4);
      Access access;
      access.base = static_cast<uint64_t>(instr.src0.offset) + instr.gather_base + offset;
      access.run_bytes = element;
      access.which = Which::kSrc0;
      list.Add(access);
    }
  }
}

}  // namespace executor
