// See bounds.h. Everything but Gather's sources is known when an instruction is issued.
#include "bounds.h"

namespace executor {

namespace {

constexpr char kCheck[] = "bounds";
enum Kind { kUbSize, kUbUsable, kUbBuffer, kGmBuffer, kGmTensor, kInputWritten };

std::string Action(const CoreView& core, const Instr& instr, const Access& access) {
  return CoreText(core) + ", pipe " + Name(instr.pipe) + ": " + Name(instr.op) + " (" +
         Place(instr.where) + ") " + (access.write ? "writes " : "reads ");
}

}  // namespace

void BoundsCheck::BeginLaunch(const LaunchView& launch) {
  memory_ = &launch.memory;
  device_ = launch.device;
}

void BoundsCheck::OnInitBuffer(const CoreView& core, const UbBuffer& buffer) {
  const uint64_t end = static_cast<uint64_t>(buffer.offset) + buffer.bytes;
  if (end <= device_.ub_bytes || !findings_.IsNew(kCheck, kUbSize, buffer.where)) return;
  findings_.Add(kCheck, CoreText(core) + ": InitBuffer (" + Place(buffer.where) + ") of " +
                            buffer.kind + " ends at UB byte " + std::to_string(end) + ", but " +
                            device_.name + " has " + std::to_string(device_.ub_bytes) +
                            " usable bytes");
}

void BoundsCheck::OnIssue(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  for (size_t i = 0; i < accesses.size(); ++i) Check(core, instr, accesses[i]);
}

void BoundsCheck::OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) {
  if (instr.op != Op::kGather) return;
  for (size_t i = 0; i < accesses.size(); ++i) {
    if (accesses[i].which == Which::kSrc0) Check(core, instr, accesses[i]);
  }
}

void BoundsCheck::Check(const CoreView& core, const Instr& instr, const Access& access) {
  if (access.space == Space::kUb) {
    CheckUb(core, instr, access);
  } else {
    CheckGm(core, instr, access);
  }
}

void BoundsCheck::CheckUb(const CoreView& core, const Instr& instr, const Access& access) {
  const UbOperand& operand = OperandOf(instr, access.which);
  const uint64_t low = access.Low();
  const uint64_t high = access.High();
  if (high > device_.ub_bytes || low > high) {
    if (findings_.IsNew(kCheck, kUbUsable, instr.where)) {
      findings_.Add(kCheck, Action(core, instr, access) + UbText(core, operand.buffer, low, high) +
                                ", past the " + std::to_string(device_.ub_bytes) +
                                " usable bytes of " + device_.name);
    }
  } else if ((low < operand.begin || high > operand.end) &&
             findings_.IsNew(kCheck, kUbBuffer, instr.where)) {
    findings_.Add(kCheck, Action(core, instr, access) + UbText(core, operand.buffer, low, high) +
                              ", outside its tensor of " +
                              std::to_string(operand.end - operand.begin) + " bytes");
  }
}

void BoundsCheck::CheckGm(const CoreView& core, const Instr& instr, const Access& access) {
  const uint64_t low = access.Low();
  const uint64_t high = access.High();
  const GmBuffer* buffer = memory_->Near(low);
  if (memory_->Host(low, high) == nullptr) {
    if (findings_.IsNew(kCheck, kGmBuffer, instr.where)) {
      findings_.Add(kCheck, Action(core, instr, access) + GmText(*memory_, low, high) +
                                (buffer == nullptr ? ""
                                                   : ", outside the buffer of " +
                                                         std::to_string(buffer->bytes) + " bytes"));
    }
    return;
  }
  if (access.write && buffer->role == BufferRole::kInput &&
      findings_.IsNew(kCheck, kInputWritten, instr.where)) {
    findings_.Add(
        kCheck, Action(core, instr, access) + GmText(*memory_, low, high) + ", which is an input");
  }
  if (instr.gm.begin != 0 && (low < instr.gm.begin || high > instr.gm.end) &&
      findings_.IsNew(kCheck, kGmTensor, instr.where)) {
    findings_.Add(kCheck, Action(core, instr, access) + GmText(*memory_, low, high) +
                              ", outside the " + std::to_string(instr.gm.end - instr.gm.begin) +
                              " bytes that SetGlobalBuffer gave the tensor");
  }
}

}  // namespace executor
