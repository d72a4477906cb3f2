// See params.h. Limits are those of the API pages; each message gives the value and the limit.
#include "params.h"

#include "overlap.h"

namespace executor {

namespace {

constexpr char kCheck[] = "params";
constexpr uint32_t kMostBlockCount = 4095;
constexpr uint32_t kMostPadBlockBytes = 2097151;
constexpr int64_t kMostReductionStride = 65535;

enum Kind {
  kCutField,
  kUbAlign,
  kType,
  kRoundMode,
  kMask,
  kMaskInCounterMode,
  kRepeat,
  kZero,
  kStride,
  kStillBlock,
  kOverlap,
  kDmaAlign,
  kDmaPosition,
  kDmaRemainder,
  kDmaCount,
  kDmaLength,
  kDmaElement,
  kDmaPadding,
  kAtomic,
};

bool IsOneOf(Type type, std::initializer_list<Type> list) {
  for (Type each : list) {
    if (type == each) return true;
  }
  return false;
}

// Types of both operands being the same; MulAddDst and Axpy also take half into float.
bool SupportsType(Op op, Type type, int32_t arch) {
  const bool next = arch == 3510;
  switch (op) {
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kMax:
    case Op::kMin:
    case Op::kAdds:
    case Op::kMuls:
    case Op::kMaxs:
    case Op::kMins:
      return IsOneOf(type, {Type::kHalf, Type::kFloat, Type::kInt16, Type::kInt32}) ||
             (next && type == Type::kBf16);
    case Op::kRelu:
      return IsOneOf(type, {Type::kHalf, Type::kFloat, Type::kInt32});
    case Op::kAxpy:
    case Op::kFusedMulAdd:
      return IsOneOf(type, {Type::kHalf, Type::kFloat}) || (next && type == Type::kBf16);
    case Op::kMulAddDst:
    case Op::kDiv:
    case Op::kAbs:
    case Op::kSqrt:
    case Op::kRsqrt:
    case Op::kReciprocal:
    case Op::kExp:
    case Op::kLn:
    case Op::kWholeReduceSum:
    case Op::kBlockReduceSum:
    case Op::kPairReduceSum:
      return IsOneOf(type, {Type::kHalf, Type::kFloat});
    default:
      return true;
  }
}

bool SupportsCast(Type from, Type to, Rounding mode, int32_t arch) {
  const bool nearest_or_directed = mode >= Rounding::kRint && mode <= Rounding::kTrunc;
  if (to == Type::kFloat && (from == Type::kHalf || from == Type::kBf16)) {
    return mode == Rounding::kNone;
  }
  if (from == Type::kFloat && to == Type::kHalf) return true;
  if (from == Type::kFloat) return nearest_or_directed;
  if (from == Type::kInt32) return nearest_or_directed || (arch == 2201 && mode == Rounding::kNone);
  return arch == 3510 && nearest_or_directed;  // half and bfloat16_t into each other
}

}  // namespace

void ParamsCheck::Tell(const Call& call, int kind, const std::string& text) {
  if (!findings_.IsNew(kCheck, kind, call.instr.where)) return;
  findings_.Add(kCheck, CoreText(call.core) + ", pipe " + Name(call.instr.pipe) + ": " +
                            Name(call.instr.op) + " (" + Place(call.instr.where) + ") " + text);
}

void ParamsCheck::OnIssue(const CoreView& core, const Instr& instr, const AccessList&) {
  const Call call{core, instr};
  CheckFields(call);
  if (IsVector(instr.op)) {
    CheckVector(call);
  } else if (IsDma(instr.op)) {
    CheckDma(call);
  }
}

void ParamsCheck::CheckFields(const Call& call) {
  for (int i = 0; i < call.instr.cut_count; ++i) {
    const CutField& cut = call.instr.cut[i];
    Tell(call, kCutField,
         std::string("gets ") + cut.name + " " + std::to_string(cut.passed) +
             ", which does not fit 0 to " + std::to_string(cut.limit));
  }
}

void ParamsCheck::CheckUbAlignment(const Call& call, const UbOperand& operand, Which which,
                                   uint32_t bytes) {
  if (!operand.present || operand.offset % bytes == 0) return;
  Tell(call, kUbAlign,
       std::string("has ") + Name(which) + " at " +
           UbText(call.core, operand.buffer, operand.offset, operand.offset + 1) +
           ", not aligned to " + std::to_string(bytes) + " bytes");
}

void ParamsCheck::CheckVector(const Call& call) {
  const Instr& instr = call.instr;
  const uint32_t element = SizeOf(instr.dst.type);
  const uint32_t dst_align = instr.op == Op::kWholeReduceSum   ? element
                             : instr.op == Op::kBlockReduceSum ? 8 * element
                                                               : kBlockBytes;
  CheckUbAlignment(call, instr.dst, Which::kDst, dst_align);
  CheckUbAlignment(call, instr.src0, Which::kSrc0, instr.op == Op::kGather ? element : kBlockBytes);
  CheckUbAlignment(call, instr.src1, Which::kSrc1, kBlockBytes);
  CheckTypes(call);
  if (instr.op != Op::kBrcb) CheckMask(call);
  CheckRepeat(call);
  CheckOverlap(call);
}

void ParamsCheck::CheckTypes(const Call& call) {
  const Instr& instr = call.instr;
  if (instr.op == Op::kCast) return CheckCast(call);
  const Type dst = instr.dst.type;
  const Type src = instr.src0.present ? instr.src0.type : dst;
  const bool widening = dst == Type::kFloat && src == Type::kHalf &&
                        (instr.op == Op::kAxpy || instr.op == Op::kMulAddDst);
  if (widening || (dst == src && SupportsType(instr.op, dst, device_.arch))) return;
  Tell(call, kType,
       std::string("on ") + Name(src) + (dst == src ? "" : std::string(" into ") + Name(dst)) +
           " is not supported on " + std::to_string(device_.arch));
}

void ParamsCheck::CheckCast(const Call& call) {
  const Instr& instr = call.instr;
  if (SupportsCast(instr.src0.type, instr.dst.type, instr.rounding, device_.arch)) return;
  Tell(call, kRoundMode,
       std::string("from ") + Name(instr.src0.type) + " to " + Name(instr.dst.type) + " with " +
           Name(instr.rounding) + " is not supported on " + std::to_string(device_.arch));
}

void ParamsCheck::CheckMask(const Call& call) {
  const Instr& instr = call.instr;
  if (instr.count_form) return;
  const Lanes lanes = LanesOf(instr);
  if (instr.sets_mask && instr.mask_mode == MaskMode::kCounter) {
    Tell(call, kMaskInCounterMode, "sets a mask of lanes while SetMaskCount is in force");
    return;
  }
  const int64_t most = lanes.per_repeat;
  if (instr.mask_argument >= 0 && instr.sets_mask &&
      (instr.mask_argument < 1 || instr.mask_argument > most)) {
    Tell(call, kMask,
         "gets mask " + std::to_string(instr.mask_argument) + ", outside 1 to " +
             std::to_string(most));
  } else if (instr.mask_mode == MaskMode::kNormal && lanes.bits[0] == 0 && lanes.bits[1] == 0) {
    Tell(call, kMask, "has no active lane");
  }
}

void ParamsCheck::CheckRepeat(const Call& call) {
  const Instr& instr = call.instr;
  if (!instr.count_form && instr.mask_mode == MaskMode::kNormal &&
      (instr.repeat < 0 || instr.repeat > 255)) {
    Tell(call, kRepeat, "gets repeat " + std::to_string(instr.repeat) + ", outside 0 to 255");
  }
  const bool nothing = instr.count_form ? instr.mask_argument <= 0 : instr.repeat == 0;
  if (nothing && (device_.arch == 3510 || instr.mask_argument < 0) && instr.count_form) {
    Tell(call, kZero,
         "gets count " + std::to_string(instr.mask_argument) +
             (instr.mask_argument < 0 ? "" : ", which 3510 does not promise to ignore"));
  } else if (nothing && device_.arch == 3510) {
    Tell(call, kZero, "gets repeat 0, which 3510 does not promise to ignore");
  }
  if (!IsReduction(instr.op)) {
    if (instr.dst.blk_stride == 0) Tell(call, kStillBlock, "gets dstBlkStride 0");
    return;
  }
  for (int64_t stride : {instr.dst.rep_stride, instr.src0.blk_stride, instr.src0.rep_stride}) {
    if (stride < 0 || stride > kMostReductionStride) {
      Tell(call, kStride, "gets stride " + std::to_string(stride) + ", outside 0 to 65535");
    }
  }
}

void ParamsCheck::CheckOverlap(const Call& call) {
  const Instr& instr = call.instr;
  for (const UbOperand* source : {&instr.src0, &instr.src1}) {
    if (!source->present) continue;
    const Which which = source == &instr.src0 ? Which::kSrc0 : Which::kSrc1;
    switch (FindOverlap(instr, *source)) {
      case Overlap::kNone:
        break;
      case Overlap::kPartial:
        Tell(call, kOverlap,
             std::string("has dst and ") + Name(which) + " overlapping in part within a repeat");
        break;
      case Overlap::kCarried:
        Tell(call, kOverlap,
             std::string("writes in one repeat what ") + Name(which) + " reads in a later one");
        break;
      case Overlap::kForbidden:
        Tell(call, kOverlap, std::string("allows no overlap of dst and ") + Name(which));
        break;
    }
  }
}

void ParamsCheck::CheckDma(const Call& call) {
  const Instr& instr = call.instr;
  const Dma& dma = instr.dma;
  const bool load = instr.op == Op::kLoad;
  const UbOperand& local = load ? instr.dst : instr.src0;
  CheckUbAlignment(call, local, load ? Which::kDst : Which::kSrc0, kBlockBytes);
  const bool veccalc =
      local.buffer >= 0 && call.core.ub_buffers[static_cast<size_t>(local.buffer)].veccalc;
  if (veccalc && (device_.arch == 2201 || !load)) {
    Tell(call, kDmaPosition,
         std::string("moves data ") + (load ? "to" : "from") +
             " VECCALC, which is not supported on " + std::to_string(device_.arch));
  }
  const uint32_t element = SizeOf(instr.gm.type);
  if (dma.form != DmaForm::kPad && instr.gm.address % element != 0) {
    Tell(call, kDmaAlign,
         "has a GM address not aligned to its " + std::to_string(element) + "-byte elements");
  }
  if (dma.form == DmaForm::kCount && dma.requested_bytes % kBlockBytes != 0) {
    Tell(call, kDmaRemainder,
         "drops the last " + std::to_string(dma.requested_bytes % kBlockBytes) + " of " +
             std::to_string(dma.requested_bytes) + " bytes: DataCopy moves multiples of 32");
  }
  if (dma.block_count > kMostBlockCount) {
    Tell(call, kDmaCount,
         "gets blockCount " + std::to_string(dma.block_count) + ", outside 0 to 4095");
  }
  if (dma.form == DmaForm::kPad) {
    if (dma.block_bytes > kMostPadBlockBytes) {
      Tell(call, kDmaLength,
           "gets blockLen " + std::to_string(dma.block_bytes) + ", outside 0 to 2097151");
    }
    if (dma.block_bytes % element != 0) {
      Tell(call, kDmaElement,
           "gets blockLen " + std::to_string(dma.block_bytes) + ", not a multiple of its " +
               std::to_string(element) + "-byte elements");
    }
    if (dma.left_bytes > kBlockBytes || dma.right_bytes > kBlockBytes) {
      Tell(call, kDmaPadding,
           "pads " + std::to_string(std::max(dma.left_bytes, dma.right_bytes)) +
               " bytes, more than 32");
    }
  }
  if (dma.atomic == Atomic::kAdd && dma.atomic_type != instr.gm.type) {
    Tell(call, kAtomic,
         std::string("stores ") + Name(instr.gm.type) + " while SetAtomicAdd<" +
             Name(dma.atomic_type) + "> is in force");
  }
}

}  // namespace executor
