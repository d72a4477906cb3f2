// LocalTensor and GlobalTensor: an address with a type. Element access runs on the scalar pipe.
#pragma once

#include "bridge.h"

namespace AscendC {

struct TBufType;
using TBufHandle = TBufType*;

template <typename T>
class LocalTensor {
 public:
  using PrimType = T;

  LocalTensor() = default;

  T GetValue(const uint32_t index, executor::Where where = executor::Where::current()) const {
    executor::Instr instr;
    instr.op = executor::Op::kGetValue;
    instr.where = where;
    instr.src0 = At(index);
    return executor::FromBits<T>(executor::CurrentCore().IssueRead(instr));
  }

  template <typename T1>
  void SetValue(const uint32_t index, const T1 value,
                executor::Where where = executor::Where::current()) const {
    executor::Instr instr;
    instr.op = executor::Op::kSetValue;
    instr.where = where;
    instr.dst = At(index);
    instr.scalar_bits = executor::BitsOf(static_cast<T>(value));
    executor::CurrentCore().Issue(instr);
  }

  LocalTensor operator[](const uint32_t offset) const {
    LocalTensor tensor = *this;
    tensor.operand_.offset += offset * static_cast<uint32_t>(sizeof(T));
    tensor.size_ = size_ > offset ? size_ - offset : 0;
    return tensor;
  }

  template <typename U>
  LocalTensor<U> ReinterpretCast() const {
    executor::UbOperand operand = operand_;
    operand.type = executor::TypeOf<U>();
    return LocalTensor<U>(operand, static_cast<uint32_t>(size_ * sizeof(T) / sizeof(U)), handle_);
  }

  uint64_t GetPhyAddr() const { return operand_.offset; }
  uint64_t GetPhyAddr(const uint32_t offset) const { return operand_.offset + offset * sizeof(T); }
  uint32_t GetSize() const { return size_; }
  void SetSize(const uint32_t size) { size_ = size; }
  TBufHandle GetBufferHandle() const { return handle_; }

  // The executor's own: how the queues make tensors and the instructions read them.
  LocalTensor(const executor::UbOperand& operand, uint32_t size, TBufHandle handle)
      : operand_(operand), size_(size), handle_(handle) {}
  const executor::UbOperand& operand() const { return operand_; }

 private:
  executor::UbOperand At(uint32_t index) const {
    executor::UbOperand element = operand_;
    element.offset += index * static_cast<uint32_t>(sizeof(T));
    return element;
  }

  executor::UbOperand operand_;
  uint32_t size_ = 0;
  TBufHandle handle_ = nullptr;
};

template <typename T>
class GlobalTensor {
 public:
  using PrimType = T;

  void SetGlobalBuffer(__gm__ T* buffer, uint64_t elements) {
    address_ = begin_ = reinterpret_cast<uint64_t>(buffer);
    size_ = elements;
    end_ = begin_ + elements * sizeof(T);
  }
  void SetGlobalBuffer(__gm__ T* buffer) {
    SetGlobalBuffer(buffer, 0);
    begin_ = 0;
  }

  T GetValue(const uint64_t index, executor::Where where = executor::Where::current()) const {
    executor::Instr instr;
    instr.op = executor::Op::kGmGetValue;
    instr.where = where;
    instr.gm = At(index);
    return executor::FromBits<T>(executor::CurrentCore().IssueRead(instr));
  }

  void SetValue(const uint64_t index, T value, executor::Where where = executor::Where::current()) {
    executor::Instr instr;
    instr.op = executor::Op::kGmSetValue;
    instr.where = where;
    instr.gm = At(index);
    instr.scalar_bits = executor::BitsOf(value);
    executor::CurrentCore().Issue(instr);
  }

  GlobalTensor operator[](const uint64_t offset) const {
    GlobalTensor tensor = *this;
    tensor.address_ += offset * sizeof(T);
    tensor.size_ = size_ > offset ? size_ - offset : 0;
    return tensor;
  }

  __gm__ T* GetPhyAddr() const { return reinterpret_cast<__gm__ T*>(address_); }
  __gm__ T* GetPhyAddr(const uint64_t offset) const { return GetPhyAddr() + offset; }
  uint64_t GetSize() const { return size_; }

  template <CacheRwMode rwMode = CacheRwMode::RW>
  void SetL2CacheHint(CacheMode mode) {
    if constexpr (rwMode != CacheRwMode::WRITE) read_hint_ = mode;
    if constexpr (rwMode != CacheRwMode::READ) write_hint_ = mode;
  }

  // The executor's own: how instructions read the address.
  executor::GmOperand operand() const { return {executor::TypeOf<T>(), address_, begin_, end_}; }
  executor::CacheHint hint(bool write) const {
    return static_cast<executor::CacheHint>(write ? write_hint_ : read_hint_);
  }

 private:
  executor::GmOperand At(uint64_t index) const {
    executor::GmOperand element = operand();
    element.address += index * sizeof(T);
    return element;
  }

  uint64_t address_ = 0;
  uint64_t begin_ = 0;  // 0 when no size was declared
  uint64_t end_ = 0;
  uint64_t size_ = 0;
  CacheMode read_hint_ = CacheMode::CACHE_MODE_NORMAL;
  CacheMode write_hint_ = CacheMode::CACHE_MODE_NORMAL;
};

}  // namespace AscendC
