// Global memory of a launch: named buffers at device addresses that lie far apart, over host
// storage. An address outside every buffer belongs to nobody, so it can be named and never aliases
// another buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace executor {

enum class BufferRole : uint8_t { kInput, kOutput, kWorkspace };

struct GmBuffer {
  std::string name;
  uint8_t* host = nullptr;
  uint64_t bytes = 0;
  BufferRole role = BufferRole::kInput;
  uint64_t address = 0;  // device address, given by Add

  uint64_t end() const { return address + bytes; }
};

class GlobalMemory {
 public:
  // Returns the device address: 512 B aligned as kernel arguments are, plus `misalignment` bytes.
  uint64_t Add(GmBuffer buffer, uint64_t misalignment = 0) {
    buffer.address = (static_cast<uint64_t>(buffers_.size()) + 1) << kSpacingBits;
    buffer.address += misalignment;
    buffers_.push_back(buffer);
    return buffer.address;
  }

  // The buffer around an address, also when the address lies past its end; null for an address near
  // no buffer.
  const GmBuffer* Near(uint64_t address) const {
    const uint64_t slot = (address + kHalfSpacing) >> kSpacingBits;
    return slot == 0 || slot > buffers_.size() ? nullptr : &buffers_[slot - 1];
  }

  // Host bytes of [low, high), or null when some of it is outside its buffer.
  uint8_t* Host(uint64_t low, uint64_t high) const {
    const GmBuffer* buffer = Near(low);
    if (buffer == nullptr || low > high) return nullptr;
    if (low < buffer->address || high > buffer->end()) return nullptr;
    return buffer->host + (low - buffer->address);
  }

  bool MayWrite(uint64_t address) const {
    const GmBuffer* buffer = Near(address);
    return buffer != nullptr && buffer->role != BufferRole::kInput;
  }

  const std::vector<GmBuffer>& buffers() const { return buffers_; }
  int IndexOf(const GmBuffer* buffer) const { return static_cast<int>(buffer - buffers_.data()); }

 private:
  static constexpr int kSpacingBits = 40;
  static constexpr uint64_t kHalfSpacing = 1ull << (kSpacingBits - 1);
  std::vector<GmBuffer> buffers_;
};

}  // namespace executor
