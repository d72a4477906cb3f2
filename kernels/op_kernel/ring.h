// The ring of (grad_out, input) buffers between the DMA pipes and the vector pipe, and the flags
// that pass a buffer on. What is loaded, computed and stored is the caller's.
#pragma once

#include "tiling.h"
#include "transfer.h"

namespace group_norm_grad {

// Which half of the 16 bank groups of 2201 a buffer starts in. Two buffers that an instruction
// reads together start in different halves, and the one that it writes starts where one of them
// does: then no repeat waits for a bank.
enum class BankHalf : int32_t { kFirst = 0, kSecond = 1 };

// Hands out the unified buffer front to back; every buffer starts on a bank row of 32 bytes.
class UbArena {
 public:
  __aicore__ inline UbArena(AscendC::TPipe* pipe, int32_t bytes) {
    pipe->InitBuffer(buffer_, bytes);
  }

  template <class T>
  __aicore__ inline LocalTensor<T> Take(int32_t elems) {
    const int32_t at = used_;
    used_ += RoundUpTo<kBlockBytes>(elems * static_cast<int32_t>(sizeof(T)));
    return buffer_.template GetWithOffset<T>(elems, at);
  }

  template <class T>
  __aicore__ inline LocalTensor<T> Take(int32_t elems, BankHalf half) {
    const int32_t start = static_cast<int32_t>(half) * (kBankGroupsBytes / 2);
    used_ = RoundUpTo<kBankGroupsBytes>(used_ - start) + start;
    return Take<T>(elems);
  }

  // Everything handed out so far is free again, once no pipe uses it any more.
  __aicore__ inline void Reset() { used_ = 0; }

 private:
  // VECIN: the pages of DataCopyPad name no way between global memory and VECCALC on 2201.
  AscendC::TBuf<AscendC::TPosition::VECIN> buffer_;
  int32_t used_ = 0;
};

// Passes one small buffer at a time between the vector pipe and the DMA pipes.
class Courier {
 public:
  __aicore__ inline explicit Courier(AscendC::TPipe* pipe) : pipe_(pipe) {
    to_load_ = pipe->AllocEventID<AscendC::HardEvent::V_MTE2>();
    loaded_ = pipe->AllocEventID<AscendC::HardEvent::MTE2_V>();
    to_store_ = pipe->AllocEventID<AscendC::HardEvent::V_MTE3>();
    stored_ = pipe->AllocEventID<AscendC::HardEvent::MTE3_V>();
  }

  __aicore__ inline ~Courier() {
    pipe_->ReleaseEventID<AscendC::HardEvent::V_MTE2>(to_load_);
    pipe_->ReleaseEventID<AscendC::HardEvent::MTE2_V>(loaded_);
    pipe_->ReleaseEventID<AscendC::HardEvent::V_MTE3>(to_store_);
    pipe_->ReleaseEventID<AscendC::HardEvent::MTE3_V>(stored_);
  }

  // The loads that follow may overwrite what vector instructions so far have read.
  __aicore__ inline void BeforeLoad() {
    AscendC::SetFlag<AscendC::HardEvent::V_MTE2>(to_load_);
    AscendC::WaitFlag<AscendC::HardEvent::V_MTE2>(to_load_);
  }

  // The vector instructions that follow may read what was loaded so far.
  __aicore__ inline void AfterLoad() {
    AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_);
    AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_);
  }

  __aicore__ inline void BeforeStore() {
    AscendC::SetFlag<AscendC::HardEvent::V_MTE3>(to_store_);
    AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(to_store_);
  }

  // The stored buffers stay reserved until Reclaim.
  __aicore__ inline void AfterStore() {
    AscendC::SetFlag<AscendC::HardEvent::MTE3_V>(stored_);
    storing_ = true;
  }

  __aicore__ inline void Reclaim() {
    if (storing_) AscendC::WaitFlag<AscendC::HardEvent::MTE3_V>(stored_);
    storing_ = false;
  }

 private:
  AscendC::TPipe* pipe_;
  AscendC::TEventID to_load_, loaded_, to_store_, stored_;
  bool storing_ = false;
};

// Loads whose halves are waited for one by one: a group's last piece, or an owner's last tile, and
// the last piece that is dealt to the core. With kNone a load is waited for as a whole.
enum class Half : int32_t { kOfGroup = 0, kOfDealt = 1, kNone = 2 };

// The flag that lets the next load into a slot start, if one is to come.
struct Release {
  AscendC::TEventID event;
  bool wanted;

  // The vector pipe has read the slot for the last time.
  __aicore__ inline void Set() const {
    if (wanted) AscendC::SetFlag<AscendC::HardEvent::V_MTE2>(event);
  }
};

template <class T>
class Ring {
 public:
  __aicore__ inline void Init(AscendC::TPipe* pipe, UbArena& arena, int32_t slots, int32_t elems,
                              bool halves = false) {
    pipe_ = pipe;
    slots_ = slots;
    halves_ = halves ? kHalves : 0;
    for (int32_t i = 0; i < halves_; ++i) {
      half_loaded_[i] = pipe->AllocEventID<AscendC::HardEvent::MTE2_V>();
    }
    if (halves) half_computed_ = pipe->AllocEventID<AscendC::HardEvent::V_MTE3>();
    // Buffers of one half side by side: the change of half costs a gap.
    for (int32_t i = 0; i < slots; ++i) grad_out_[i] = arena.Take<T>(elems, BankHalf::kFirst);
    for (int32_t i = 0; i < slots; ++i) {
      input_[i] = arena.Take<T>(elems, BankHalf::kSecond);
      loaded_[i] = pipe->AllocEventID<AscendC::HardEvent::MTE2_V>();
      read_[i] = pipe->AllocEventID<AscendC::HardEvent::V_MTE2>();
      computed_[i] = pipe->AllocEventID<AscendC::HardEvent::V_MTE3>();
      stored_[i] = pipe->AllocEventID<AscendC::HardEvent::MTE3_MTE2>();
      last_user_[i] = User::kNone;
      released_[i] = false;
    }
  }

  __aicore__ inline ~Ring() {
    for (int32_t i = 0; i < halves_; ++i) {
      pipe_->ReleaseEventID<AscendC::HardEvent::MTE2_V>(half_loaded_[i]);
    }
    if (halves_ > 0) pipe_->ReleaseEventID<AscendC::HardEvent::V_MTE3>(half_computed_);
    for (int32_t i = 0; i < slots_; ++i) {
      pipe_->ReleaseEventID<AscendC::HardEvent::MTE2_V>(loaded_[i]);
      pipe_->ReleaseEventID<AscendC::HardEvent::V_MTE2>(read_[i]);
      pipe_->ReleaseEventID<AscendC::HardEvent::V_MTE3>(computed_[i]);
      pipe_->ReleaseEventID<AscendC::HardEvent::MTE3_MTE2>(stored_[i]);
    }
  }

  __aicore__ inline int32_t slots() const { return slots_; }
  __aicore__ inline const LocalTensor<T>& grad_out(int32_t slot) const { return grad_out_[slot]; }
  __aicore__ inline const LocalTensor<T>& input(int32_t slot) const { return input_[slot]; }

  // `slot` moved one place along `direction`, 1 or -1.
  __aicore__ inline int32_t Step(int32_t slot, int32_t direction) const {
    slot += direction;
    return slot < 0 ? slots_ - 1 : (slot == slots_ ? 0 : slot);
  }

  // For the vector pipe's last reads of the slot before its next load, if there is one: a flag is
  // never left set.
  __aicore__ inline Release ReleaseOf(int32_t slot, bool loads_again) {
    released_[slot] = loads_again;
    return {read_[slot], loads_again};
  }

  // A load into the slot's input may follow: the vector pipe has read it.
  __aicore__ inline void BeginInput(int32_t slot) {
    if (last_user_[slot] == User::kNone) return;
    if (!released_[slot]) AscendC::SetFlag<AscendC::HardEvent::V_MTE2>(read_[slot]);
    AscendC::WaitFlag<AscendC::HardEvent::V_MTE2>(read_[slot]);
    released_[slot] = false;
  }

  // And one into its grad_out: what took its place has been stored, while the input came in.
  __aicore__ inline void BeginGradOut(int32_t slot) {
    if (last_user_[slot] != User::kStore) return;
    AscendC::SetFlag<AscendC::HardEvent::MTE3_MTE2>(stored_[slot]);
    AscendC::WaitFlag<AscendC::HardEvent::MTE3_MTE2>(stored_[slot]);
  }

  __aicore__ inline void EndLoad(int32_t slot) {
    AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);
    last_user_[slot] = User::kVector;
  }

  // The input, and of a piece the first half of grad_out, are there; a kind of half is on its way
  // once at a time.
  __aicore__ inline void EndHalf(Half half) {
    AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(half_loaded_[static_cast<int32_t>(half)]);
  }
  __aicore__ inline void BeginHalf(Half half) {
    AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(half_loaded_[static_cast<int32_t>(half)]);
  }

  __aicore__ inline void BeginCompute(int32_t slot) {
    AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);
  }

  // The stores that follow may read what the vector pipe wrote into the slot.
  __aicore__ inline void BeginStore(int32_t slot) {
    AscendC::SetFlag<AscendC::HardEvent::V_MTE3>(computed_[slot]);
    AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(computed_[slot]);
    last_user_[slot] = User::kStore;
  }

  // The same for what is ready of a slot that BeginStore follows for, at most once.
  __aicore__ inline void BeginStoreHalf() {
    AscendC::SetFlag<AscendC::HardEvent::V_MTE3>(half_computed_);
    AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(half_computed_);
  }

 private:
  static constexpr int32_t kHalves = static_cast<int32_t>(Half::kNone);
  enum class User : uint8_t { kNone, kVector, kStore };

  LocalTensor<T> grad_out_[kMaxSlots];
  LocalTensor<T> input_[kMaxSlots];
  AscendC::TEventID loaded_[kMaxSlots], read_[kMaxSlots], computed_[kMaxSlots], stored_[kMaxSlots];
  User last_user_[kMaxSlots];
  bool released_[kMaxSlots];  // by a flag that is on its way
  AscendC::TEventID half_loaded_[kHalves], half_computed_;
  AscendC::TPipe* pipe_ = nullptr;
  int32_t slots_ = 0;
  int32_t halves_ = 0;
};

}  // namespace group_norm_grad
