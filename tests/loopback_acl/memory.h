// Device memory of the loopback runtime: addresses that the host cannot dereference, backed by host
// memory. No ACL call is defined here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace loopback_acl {

// Each page is mapped twice: at the device address, which is all that a caller of the runtime ever
// sees, without any access right; and at the view, through which the runtime copies and runs
// kernels. A host access to device memory is therefore a segmentation fault, as it must be, and
// never a silent success.
class DeviceMemory {
 public:
  static DeviceMemory& Get();

  // Poisoned memory of that device, 512-byte aligned as the real one's; null when there is no room.
  void* Allocate(size_t bytes, int32_t device);

  // False, with the reason, when the address is no live allocation or something was written past
  // its end.
  bool Free(const void* address, std::string* why);

  // Whether the address belongs to the device address range, allocated or not.
  bool Owns(const void* address) const;

  // The device that owns the live allocation around the address, or -1.
  int32_t DeviceOf(const void* address) const;

  // The view of [address, address + bytes), or null with the reason unless one live allocation
  // holds all of it.
  void* View(const void* address, size_t bytes, std::string* why) const;

  void Info(int32_t device, size_t* free_bytes, size_t* total_bytes) const;

  size_t LiveAllocations() const;
  size_t LiveBytes() const;

 private:
  DeviceMemory();

  struct Block {
    size_t bytes;     // as asked for
    size_t capacity;  // with the red zone, a multiple of kAlignment
    int32_t device;
  };

  const Block* Find(uintptr_t address, uintptr_t* start) const;

  mutable std::mutex mutex_;
  uintptr_t device_base_ = 0;
  uintptr_t view_base_ = 0;
  size_t arena_bytes_ = 0;
  size_t device_bytes_ = 0;  // what one device offers
  int memory_file_ = -1;
  std::map<uintptr_t, Block> live_;    // by device address
  std::map<uintptr_t, size_t> holes_;  // free ranges, by device address, merged
};

}  // namespace loopback_acl
