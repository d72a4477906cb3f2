// See overlap.h. Works on blocks of 32 B; operands that lie apart are told so without a look at
// their blocks.
#include "overlap.h"

#include <algorithm>
#include <vector>

namespace executor {

namespace {

struct Span {
  int64_t low = 0;
  int64_t high = 0;
};

struct Shape {
  int64_t offset = 0;
  int64_t blocks = 0;       // of one repeat
  int64_t last_blocks = 0;  // of the last repeat
  int64_t block_bytes = kBlockBytes;
  int64_t blk_stride = 0;  // bytes
  int64_t rep_stride = 0;  // bytes
  int64_t repeats = 0;

  Span Block(int64_t repeat, int64_t block) const {
    const int64_t low = offset + repeat * rep_stride + block * blk_stride;
    return {low, low + block_bytes};
  }
  int64_t BlocksOf(int64_t repeat) const { return repeat == repeats - 1 ? last_blocks : blocks; }
  Span All() const {
    int64_t high = Block(repeats - 1, last_blocks - 1).high;
    if (repeats > 1) high = std::max(high, Block(repeats - 2, blocks - 1).high);
    return {offset, std::max(high, offset + block_bytes)};
  }
  bool operator==(const Shape&) const = default;
};

Shape SourceShape(const Instr& instr, const UbOperand& operand, const Lanes& lanes) {
  Shape shape;
  const uint32_t per_block = kBlockBytes / SizeOf(operand.type);
  shape.offset = operand.offset;
  shape.repeats = lanes.Repeats();
  const uint32_t active = lanes.contiguous ? lanes.lanes : lanes.per_repeat;
  shape.blocks = (active + per_block - 1) / per_block;
  shape.last_blocks =
      lanes.tail_lanes == 0 ? shape.blocks : (lanes.tail_lanes + per_block - 1) / per_block;
  shape.blk_stride = static_cast<int64_t>(operand.blk_stride) * kBlockBytes;
  shape.rep_stride = static_cast<int64_t>(operand.rep_stride) * kBlockBytes;
  if (instr.op == Op::kBrcb) {
    shape.repeats = instr.repeat;
    shape.blocks = shape.last_blocks = 1;
    shape.block_bytes = 8 * SizeOf(operand.type);
    shape.rep_stride = shape.block_bytes;
  }
  return shape;
}

Shape DestinationShape(const Instr& instr, const Lanes& lanes) {
  Shape shape = SourceShape(instr, instr.dst, lanes);
  const uint32_t element = SizeOf(instr.dst.type);
  if (instr.op == Op::kBrcb) {
    shape.blocks = shape.last_blocks = 8;
    shape.block_bytes = kBlockBytes;
    shape.rep_stride = static_cast<int64_t>(instr.dst.rep_stride) * kBlockBytes;
  } else if (IsReduction(instr.op)) {
    shape.blocks = shape.last_blocks = 1;
    shape.block_bytes = instr.op == Op::kWholeReduceSum   ? element
                        : instr.op == Op::kBlockReduceSum ? 8 * element
                                                          : 128;
    shape.rep_stride = shape.block_bytes * instr.dst.rep_stride;
  }
  return shape;
}

bool MayAccumulate(const Instr& instr, const UbOperand& source) {
  const bool op = instr.op == Op::kAdd || instr.op == Op::kSub || instr.op == Op::kMul ||
                  instr.op == Op::kMax || instr.op == Op::kMin;
  const bool type =
      source.type == Type::kHalf || source.type == Type::kFloat || source.type == Type::kInt32;
  return op && type && &source == &instr.src1 && source.offset == instr.dst.offset &&
         (source.rep_stride == 0 || instr.dst.rep_stride == 0);
}

}  // namespace

Overlap FindOverlap(const Instr& instr, const UbOperand& source) {
  const Lanes lanes = LanesOf(instr);
  const Shape dst = DestinationShape(instr, lanes);
  const Shape src = SourceShape(instr, source, lanes);
  if (dst.repeats == 0 || src.repeats == 0 || dst.last_blocks == 0) return Overlap::kNone;
  const Span all_dst = dst.All();
  const Span all_src = src.All();
  if (all_dst.low >= all_src.high || all_src.low >= all_dst.high) return Overlap::kNone;
  const bool widening = SizeOf(instr.dst.type) > SizeOf(source.type);
  const bool ternary = instr.op == Op::kAxpy || instr.op == Op::kMulAddDst;
  if (instr.op == Op::kBrcb || instr.op == Op::kGather || (ternary && widening)) {
    return Overlap::kForbidden;
  }
  if (MayAccumulate(instr, source)) return Overlap::kNone;
  const bool spread = dst.repeats == 1 || dst.rep_stride >= (dst.blocks - 1) * dst.blk_stride + 32;
  if (dst == src && spread) return Overlap::kNone;

  std::vector<int64_t> written(kMostUbBytes / kBlockBytes,
                               -1);  // the last repeat that wrote a block
  auto out_of_range = [](Span span) { return span.low < 0 || span.high > kMostUbBytes; };
  for (int64_t repeat = 0; repeat < dst.repeats; ++repeat) {
    for (int64_t block = 0; block < src.BlocksOf(repeat); ++block) {
      const Span read = src.Block(repeat, block);
      if (out_of_range(read)) return Overlap::kNone;
      if (written[static_cast<size_t>(read.low / kBlockBytes)] >= 0) return Overlap::kCarried;
    }
    for (int64_t block = 0; block < dst.BlocksOf(repeat); ++block) {
      const Span write = dst.Block(repeat, block);
      if (out_of_range(write)) return Overlap::kNone;
      for (int64_t other = 0; other < src.BlocksOf(repeat); ++other) {
        const Span read = src.Block(repeat, other);
        const bool touch = write.low < read.high && read.low < write.high;
        const bool same = write.low == read.low && write.high == read.high && block == other;
        if (touch && !same) return Overlap::kPartial;
      }
    }
    for (int64_t block = 0; block < dst.BlocksOf(repeat); ++block) {
      const Span write = dst.Block(repeat, block);
      for (int64_t at = write.low / kBlockBytes; at * kBlockBytes < write.high; ++at) {
        written[static_cast<size_t>(at)] = repeat;
      }
    }
  }
  return Overlap::kNone;
}

}  // namespace executor
