// Initialisation: reads of UB, GM or padding lanes that nobody wrote, and outputs that the kernel
// left unwritten.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "../report.h"

namespace executor {

// One bit a byte. Cores on different host threads may mark neighbouring bytes at once.
class ByteSet {
 public:
  explicit ByteSet(uint64_t bytes = 0) : words_((bytes + 63) / 64) {}
  void Set(uint64_t low, uint64_t high, bool value);
  uint64_t FirstClear(uint64_t low, uint64_t high) const;  // high when all are set
  uint64_t CountClear(uint64_t bytes) const;

 private:
  std::vector<uint64_t> words_;
};

class InitCheck : public Observer {
 public:
  explicit InitCheck(Findings& findings) : findings_(findings) {}
  void BeginLaunch(const LaunchView& launch) override;
  void BeginCore(const CoreView& core) override;
  void OnInitBuffer(const CoreView& core, const UbBuffer& buffer) override;
  void OnExecute(const CoreView& core, const Instr& instr, const AccessList& accesses) override;
  void EndCore(const CoreView& core) override;
  void EndLaunch() override;

 private:
  void Read(const CoreView& core, const Instr& instr, const Access& access);
  void Write(const CoreView& core, const Instr& instr, const Access& access);
  ByteSet* GmBytes(uint64_t address, uint64_t* base);

  Findings& findings_;
  const GlobalMemory* memory_ = nullptr;
  std::vector<std::unique_ptr<ByteSet>> ub_;  // by core
  std::vector<std::unique_ptr<ByteSet>> gm_;  // by buffer; null for inputs
  std::atomic<int32_t> ended_{0};
  int32_t blocks_ = 0;
};

}  // namespace executor
