// TPipe, TQue, TQueBind and TBuf: UB allocation in order of InitBuffer, and the flags that queues
// set and wait for.
#pragma once

#include <algorithm>
#include <exception>

#include "sync.h"
#include "tensor.h"

namespace AscendC {

constexpr TEventID INVALID_TEVENTID = -1;
constexpr int32_t QBUF_MAX_LEN = 64;
constexpr int32_t QUE_MAX_EVENT = 8;

enum class TBufState : uint8_t { FREE, OCCUPIED, ENQUE, DEQUE };

struct TBufType {
  TBufState state = TBufState::FREE;
  HardEvent freeBufEvt = HardEvent::MAX;
  HardEvent enQueEvt = HardEvent::MAX;
  TEventID enQueEvtID = INVALID_TEVENTID;
  TEventID freeBufEvtID = INVALID_TEVENTID;
  uint32_t address = 0;
  uint32_t dataLen = 0;
  int32_t index = -1;  // in the core's list of UB buffers
};

// GM and UB are the only memories of a vector kernel.
constexpr bool IsGm(TPosition pos) { return pos == TPosition::GM; }

constexpr HardEvent GetQueEvt(TPosition src, TPosition dst, bool forward) {
  if (IsGm(src)) return forward ? HardEvent::MTE2_V : HardEvent::V_MTE2;
  if (IsGm(dst)) return forward ? HardEvent::V_MTE3 : HardEvent::MTE3_V;
  return forward ? HardEvent::MTE2_MTE3 : HardEvent::MTE3_MTE2;
}

template <HardEvent event>
struct EventTag {};

// Calls fn(EventTag) for the events that queues use.
template <class F>
void WithQueueEvent(HardEvent event, F&& fn) {
  switch (event) {
    case HardEvent::MTE2_V:
      return fn(EventTag<HardEvent::MTE2_V>{});
    case HardEvent::V_MTE2:
      return fn(EventTag<HardEvent::V_MTE2>{});
    case HardEvent::V_MTE3:
      return fn(EventTag<HardEvent::V_MTE3>{});
    case HardEvent::MTE3_V:
      return fn(EventTag<HardEvent::MTE3_V>{});
    case HardEvent::MTE2_MTE3:
      return fn(EventTag<HardEvent::MTE2_MTE3>{});
    case HardEvent::MTE3_MTE2:
      return fn(EventTag<HardEvent::MTE3_MTE2>{});
    case HardEvent::V_V:
      return fn(EventTag<HardEvent::V_V>{});
    default:
      return;
  }
}

class TPipe;
template <TPosition pos>
class TBuf;
inline TPipe* GetTPipePtr() { return static_cast<TPipe*>(executor::CurrentCore().tpipe); }

class TPipe {
 public:
  explicit TPipe(executor::Where where = executor::Where::current()) { Init(where); }
  // The waits of Destroy can find that the core hangs, which unwinds the kernel; while it unwinds
  // there is nothing to wait for.
  ~TPipe() noexcept(false) {
    if (!destroyed_ && std::uncaught_exceptions() == 0) Destroy(created_);
  }
  TPipe(const TPipe&) = delete;
  TPipe& operator=(const TPipe&) = delete;

  void Init(executor::Where where = executor::Where::current()) {
    executor::Core& core = executor::CurrentCore();
    if (core.tpipe != nullptr) core.ReportMisuse("TPipe while another one is alive", where);
    created_ = where;
    destroyed_ = false;
    ResetState(where);
    core.tpipe = this;
  }

  template <class T>
  bool InitBuffer(T& que, uint8_t num, uint32_t len,
                  executor::Where where = executor::Where::current()) {
    static_assert(T::isTQue, "InitBuffer(que, num, len) is for queues");
    que.SetBuffers(Take(num, len, T::kKind, false, T::freeBufEvt, where), num);
    return true;
  }

  template <TPosition pos>
  bool InitBuffer(TBuf<pos>& buf, uint32_t len,
                  executor::Where where = executor::Where::current()) {
    buf.SetBuffers(Take(1, len, "TBuf", pos == TPosition::VECCALC, HardEvent::MAX, where), 1);
    return true;
  }

  template <HardEvent evt>
  TEventID AllocEventID(executor::Where where = executor::Where::current()) {
    const TEventID id = FetchEventID<evt>(where);
    occupied_[Index(evt)] |= static_cast<uint8_t>(1u << id);
    allocated_at_[Index(evt)][id] = where;
    return id;
  }

  template <HardEvent evt>
  void ReleaseEventID(TEventID id, executor::Where where = executor::Where::current()) {
    if (id < 0 || id >= QUE_MAX_EVENT || ((occupied_[Index(evt)] >> id) & 1) == 0) {
      executor::CurrentCore().ReportMisuse("ReleaseEventID<" +
                                               executor::Name(executor::EventOf(evt)) + "> of id " +
                                               std::to_string(id) + ", which is not allocated",
                                           where);
      return;
    }
    occupied_[Index(evt)] &= static_cast<uint8_t>(~(1u << id));
  }

  template <HardEvent evt>
  TEventID FetchEventID(executor::Where where = executor::Where::current()) {
    return FetchEventID(evt, where);
  }

  TEventID FetchEventID(HardEvent evt, executor::Where where = executor::Where::current()) {
    for (TEventID id = 0; id < QUE_MAX_EVENT; ++id) {
      if (((occupied_[Index(evt)] >> id) & 1) == 0) return id;
    }
    executor::Core& core = executor::CurrentCore();
    core.ReportMisuse(
        "no free event id of " + executor::Name(executor::EventOf(evt)) + ": all 8 are allocated",
        where);
    core.Abort();
  }

  void Reset(executor::Where where = executor::Where::current()) {
    WaitForFreedBuffers(where);
    ResetState(where);
  }

  void Destroy(executor::Where where = executor::Where::current()) {
    destroyed_ = true;
    WaitForFreedBuffers(where);
    PipeBarrier<PIPE_ALL>(where);
    ReportHeldEventIDs();
    executor::CurrentCore().tpipe = nullptr;
  }

 private:
  static constexpr int Index(HardEvent evt) { return static_cast<int>(evt); }

  void ResetState(executor::Where where) {
    used_ = 0;
    address_ = 0;
    std::fill(std::begin(occupied_), std::end(occupied_), uint8_t{0});
    SetAtomicNone(where);
    ResetMask(where);
    SetMaskNorm(where);
  }

  void WaitForFreedBuffers(executor::Where where) {
    for (int32_t i = 0; i < used_; ++i) {
      TBufType& buffer = buffers_[i];
      if (buffer.freeBufEvtID == INVALID_TEVENTID) continue;
      WithQueueEvent(buffer.freeBufEvt, [&]<HardEvent evt>(EventTag<evt>) {
        WaitFlag<evt>(buffer.freeBufEvtID, where);
        ReleaseEventID<evt>(buffer.freeBufEvtID, where);
      });
      buffer.freeBufEvtID = INVALID_TEVENTID;
    }
  }

  void ReportHeldEventIDs() {
    for (int evt = 0; evt < static_cast<int>(HardEvent::MAX); ++evt) {
      for (TEventID id = 0; id < QUE_MAX_EVENT; ++id) {
        if (((occupied_[evt] >> id) & 1) == 0) continue;
        executor::CurrentCore().ReportMisuse(
            "AllocEventID<" + executor::Name(executor::EventOf(static_cast<HardEvent>(evt))) +
                "> has no ReleaseEventID",
            allocated_at_[evt][id]);
      }
    }
  }

  TBufType* Take(int32_t num, uint32_t len, const char* kind, bool veccalc, HardEvent free_event,
                 executor::Where where) {
    executor::Core& core = executor::CurrentCore();
    if (num < 1 || used_ + num > QBUF_MAX_LEN) {
      core.ReportMisuse("InitBuffer of " + std::to_string(num) + " buffers with " +
                            std::to_string(used_) + " in use: a kernel has at most 64",
                        where);
      core.Abort();
    }
    if (len == 0) core.ReportMisuse("InitBuffer of 0 bytes", where);
    len = (len + ONE_BLK_SIZE - 1) / ONE_BLK_SIZE * ONE_BLK_SIZE;
    TBufType* first = buffers_ + used_;
    for (int32_t i = 0; i < num; ++i) {
      TBufType& buffer = buffers_[used_++];
      buffer = TBufType{};
      buffer.freeBufEvt = free_event;
      buffer.address = address_;
      buffer.dataLen = len;
      buffer.index = core.AddUbBuffer({address_, len, kind, veccalc, where});
      address_ += len;
    }
    return first;
  }

  TBufType buffers_[QBUF_MAX_LEN];
  int32_t used_ = 0;
  uint32_t address_ = 0;
  uint8_t occupied_[static_cast<int>(HardEvent::MAX)] = {};
  executor::Where allocated_at_[static_cast<int>(HardEvent::MAX)][QUE_MAX_EVENT];
  bool destroyed_ = false;
  executor::Where created_;
};

// The tensor's extent is its own, not that of the buffer it is a part of; as in InitBuffer, it ends
// on a whole block.
template <typename T>
LocalTensor<T> MakeTensor(TBufHandle buffer, uint32_t offset, uint32_t bytes) {
  const uint32_t padded = (bytes + ONE_BLK_SIZE - 1) / ONE_BLK_SIZE * ONE_BLK_SIZE;
  executor::UbOperand operand;
  operand.type = executor::TypeOf<T>();
  operand.present = true;
  operand.offset = buffer->address + offset;
  operand.begin = operand.offset;
  operand.end = buffer->address + std::min(offset + padded, buffer->dataLen);
  operand.buffer = static_cast<int16_t>(buffer->index);
  return LocalTensor<T>(operand, static_cast<uint32_t>(bytes / sizeof(T)), buffer);
}

template <TPosition src, TPosition dst, int32_t depth, int32_t mask = 0>
class TQueBind {
 public:
  static constexpr bool isTQue = true;
  static constexpr HardEvent enQueEvt = GetQueEvt(src, dst, true);
  static constexpr HardEvent freeBufEvt = GetQueEvt(src, dst, false);
  static constexpr const char* kKind = IsGm(src)   ? "TQue VECIN"
                                       : IsGm(dst) ? "TQue VECOUT"
                                                   : "TQueBind VECIN to VECOUT";

  template <typename T>
  LocalTensor<T> AllocTensor(executor::Where where = executor::Where::current()) {
    executor::Core& core = executor::CurrentCore();
    for (int32_t tries = 0; tries < count_; ++tries) {
      TBufType& buffer = first_[cursor_];
      cursor_ = (cursor_ + 1) % count_;
      if (buffer.state != TBufState::FREE) continue;
      buffer.state = TBufState::OCCUPIED;
      Report(executor::QueueEvent::kAlloc, &buffer, nullptr, where);
      if (buffer.freeBufEvtID != INVALID_TEVENTID) {
        WaitFlag<freeBufEvt>(buffer.freeBufEvtID, where);
        GetTPipePtr()->ReleaseEventID<freeBufEvt>(buffer.freeBufEvtID, where);
        buffer.freeBufEvtID = INVALID_TEVENTID;
      }
      LocalTensor<T> tensor = MakeTensor<T>(&buffer, 0, buffer.dataLen);
      Forget(tensor.operand(), where);
      return tensor;
    }
    Report(executor::QueueEvent::kAlloc, nullptr,
           count_ == 0 ? "the queue has no InitBuffer" : "every buffer of the queue is in use",
           where);
    core.Abort();
  }

  template <typename T>
  bool EnQue(const LocalTensor<T>& tensor, executor::Where where = executor::Where::current()) {
    return Push<enQueEvt>(tensor.GetBufferHandle(), where);
  }

  template <TPosition srcUserPos, TPosition dstUserPos, typename T>
  bool EnQue(const LocalTensor<T>& tensor, executor::Where where = executor::Where::current()) {
    return Push<UserEvent(srcUserPos, dstUserPos)>(tensor.GetBufferHandle(), where);
  }

  template <typename T>
  LocalTensor<T> DeQue(executor::Where where = executor::Where::current()) {
    TBufHandle buffer = Pop<enQueEvt>(where);
    return MakeTensor<T>(buffer, 0, buffer->dataLen);
  }

  template <TPosition srcUserPos, TPosition dstUserPos, typename T>
  LocalTensor<T> DeQue(executor::Where where = executor::Where::current()) {
    TBufHandle buffer = Pop<UserEvent(srcUserPos, dstUserPos)>(where);
    return MakeTensor<T>(buffer, 0, buffer->dataLen);
  }

  template <typename T>
  void FreeTensor(LocalTensor<T>& tensor, executor::Where where = executor::Where::current()) {
    TBufHandle buffer = tensor.GetBufferHandle();
    if (!Owns(buffer)) return Report(executor::QueueEvent::kFree, nullptr, kForeign, where);
    const char* problem = buffer->state == TBufState::FREE ? "the buffer is free already" : nullptr;
    Report(executor::QueueEvent::kFree, buffer, problem, where);
    if (problem != nullptr) return;
    buffer->freeBufEvtID = GetTPipePtr()->AllocEventID<freeBufEvt>(where);
    SetFlag<freeBufEvt>(buffer->freeBufEvtID, where);
    buffer->state = TBufState::FREE;
  }

  bool VacantInQue() const { return used_ < depth; }
  bool HasTensorInQue() const { return used_ != 0; }
  int32_t GetTensorCountInQue() const { return used_; }
  bool HasIdleBuffer() const {
    for (int32_t i = 0; i < count_; ++i) {
      if (first_[i].state == TBufState::FREE) return true;
    }
    return false;
  }

  // The executor's own: InitBuffer hands the buffers over.
  void SetBuffers(TBufType* first, int32_t count) {
    first_ = first;
    count_ = count;
    cursor_ = used_ = head_ = 0;
  }

 private:
  static constexpr const char* kForeign = "the tensor is not of this queue";
  static constexpr int32_t kSlots = depth > 0 ? depth : 1;

  static constexpr HardEvent UserEvent(TPosition from, TPosition to) {
    return !IsGm(from) && !IsGm(to) ? HardEvent::V_V : GetQueEvt(from, to, true);
  }

  bool Owns(TBufHandle buffer) const {
    return buffer != nullptr && first_ != nullptr && buffer >= first_ && buffer < first_ + count_;
  }

  void Report(executor::QueueEvent event, TBufHandle buffer, const char* problem,
              executor::Where where) {
    executor::QueueCall call;
    call.event = event;
    call.buffer = buffer != nullptr ? buffer->index : count_ > 0 ? first_->index : -1;
    call.problem = problem;
    call.where = where;
    executor::CurrentCore().ReportQueue(call);
  }

  // In the pipe that fills the buffer, behind the wait for the buffer's last user.
  static void Forget(const executor::UbOperand& operand, executor::Where where) {
    executor::Instr instr;
    instr.op = executor::Op::kForget;
    instr.pipe = executor::EventOf(freeBufEvt).to;
    instr.where = where;
    instr.dst = operand;
    executor::CurrentCore().Issue(instr);
  }

  template <HardEvent event>
  bool Push(TBufHandle buffer, executor::Where where) {
    const char* problem = nullptr;
    if (!Owns(buffer)) {
      buffer = nullptr;
      problem = kForeign;
    } else if (buffer->state != TBufState::OCCUPIED && buffer->state != TBufState::DEQUE) {
      problem = buffer->state == TBufState::ENQUE ? "the buffer is in the queue already"
                                                  : "the buffer is free";
    } else if (used_ >= kSlots) {
      problem = "the queue is full";
    }
    Report(executor::QueueEvent::kEnQue, buffer, problem, where);
    if (problem != nullptr) return false;
    que_[(head_ + used_) % kSlots] = buffer;
    ++used_;
    buffer->state = TBufState::ENQUE;
    buffer->enQueEvt = event;
    buffer->enQueEvtID = GetTPipePtr()->AllocEventID<event>(where);
    SetFlag<event>(buffer->enQueEvtID, where);
    return true;
  }

  template <HardEvent event>
  TBufHandle Pop(executor::Where where) {
    executor::Core& core = executor::CurrentCore();
    if (used_ == 0) {
      Report(executor::QueueEvent::kDeQue, nullptr, "the queue is empty", where);
      core.Abort();
    }
    TBufHandle buffer = que_[head_];
    head_ = (head_ + 1) % kSlots;
    --used_;
    const bool same = buffer->enQueEvt == event;
    Report(executor::QueueEvent::kDeQue, buffer,
           same ? nullptr : "EnQue and DeQue name different positions", where);
    if (!same) core.Abort();
    buffer->state = TBufState::DEQUE;
    WaitFlag<event>(buffer->enQueEvtID, where);
    GetTPipePtr()->ReleaseEventID<event>(buffer->enQueEvtID, where);
    buffer->enQueEvtID = INVALID_TEVENTID;
    return buffer;
  }

  TBufType* first_ = nullptr;
  int32_t count_ = 0;
  int32_t cursor_ = 0;
  int32_t used_ = 0;
  int32_t head_ = 0;
  TBufHandle que_[kSlots] = {};
};

template <TPosition pos, int32_t depth, int32_t mask = 0>
class TQue
    : public TQueBind<pos == TPosition::VECIN ? TPosition::GM : TPosition::VECOUT,
                      pos == TPosition::VECIN ? TPosition::VECIN : TPosition::GM, depth, mask> {
  static_assert(pos == TPosition::VECIN || pos == TPosition::VECOUT);
};

template <TPosition pos = TPosition::LCM>
class TBuf {
 public:
  template <typename T>
  LocalTensor<T> Get() {
    return MakeTensor<T>(buffer_, 0, buffer_->dataLen);
  }
  template <typename T>
  LocalTensor<T> Get(uint32_t len) {
    return MakeTensor<T>(buffer_, 0, len * static_cast<uint32_t>(sizeof(T)));
  }
  template <typename T>
  LocalTensor<T> GetWithOffset(uint32_t size, uint32_t bufOffset) {
    return MakeTensor<T>(buffer_, bufOffset, size * static_cast<uint32_t>(sizeof(T)));
  }

  // The executor's own: InitBuffer hands the buffer over.
  void SetBuffers(TBufType* buffer, int32_t) { buffer_ = buffer; }

 private:
  TBufType empty_;
  TBufType* buffer_ = &empty_;
};

}  // namespace AscendC
