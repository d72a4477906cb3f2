// The double mapping behind DeviceMemory, and its first-fit allocator with poison and red zones.
#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

namespace loopback_acl {
namespace {

constexpr size_t kAlignment = 512;
constexpr size_t kRedZone = 512;  // behind every allocation
constexpr int kPoison = 0xFF;     // a NaN in float32, float16 and bfloat16, -1 in integers
constexpr int kRedZonePattern = 0xA5;
constexpr size_t kPunchBytes = size_t{1} << 20;  // give pages back to the host from this size on

std::string Describe(const void* address, size_t bytes) {
  char text[96];
  std::snprintf(text, sizeof text, "[%p, +%zu bytes)", address, bytes);
  return text;
}

}  // namespace

DeviceMemory& DeviceMemory::Get() {
  static DeviceMemory* memory =
      new DeviceMemory;  // never destroyed: streams may outlive static destruction
  return *memory;
}

DeviceMemory::DeviceMemory() {
  device_bytes_ = static_cast<size_t>(Config::Get().device_megabytes) << 20;
  arena_bytes_ = device_bytes_ * static_cast<size_t>(Config::Get().devices);
  memory_file_ = memfd_create("loopback_acl", MFD_CLOEXEC);
  if (memory_file_ < 0 || ftruncate(memory_file_, static_cast<off_t>(arena_bytes_)) != 0) {
    std::perror("loopback_acl: cannot create the device memory");
    std::abort();
  }
  void* view = mmap(nullptr, arena_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                    memory_file_, 0);
  void* device =
      mmap(nullptr, arena_bytes_, PROT_NONE, MAP_SHARED | MAP_NORESERVE, memory_file_, 0);
  if (view == MAP_FAILED || device == MAP_FAILED) {
    std::perror("loopback_acl: cannot map the device memory");
    std::abort();
  }
  view_base_ = reinterpret_cast<uintptr_t>(view);
  device_base_ = reinterpret_cast<uintptr_t>(device);
  holes_[device_base_] = arena_bytes_;
}

void* DeviceMemory::Allocate(size_t bytes, int32_t device) {
  const size_t capacity = (bytes + kRedZone + kAlignment - 1) / kAlignment * kAlignment;
  uintptr_t address = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t used = 0;
    for (const auto& [start, block] : live_) used += block.device == device ? block.capacity : 0;
    if (capacity < bytes || used + capacity > device_bytes_) return nullptr;
    auto hole = holes_.begin();
    while (hole != holes_.end() && hole->second < capacity) ++hole;
    if (hole == holes_.end()) return nullptr;
    address = hole->first;
    const size_t rest = hole->second - capacity;
    holes_.erase(hole);
    if (rest > 0) holes_[address + capacity] = rest;
    live_[address] = Block{bytes, capacity, device};
  }
  char* view = reinterpret_cast<char*>(address - device_base_ + view_base_);
  std::memset(view, kPoison, bytes);
  std::memset(view + bytes, kRedZonePattern, capacity - bytes);
  return reinterpret_cast<void*>(address);
}

bool DeviceMemory::Free(const void* address, std::string* why) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = live_.find(reinterpret_cast<uintptr_t>(address));
  if (found == live_.end()) {
    *why = Describe(address, 0) + " is not the start of a live device allocation";
    return false;
  }
  const auto [start, block] = *found;
  live_.erase(found);
  char* view = reinterpret_cast<char*>(start - device_base_ + view_base_);
  size_t damaged = block.bytes;
  while (damaged < block.capacity && view[damaged] == static_cast<char>(kRedZonePattern)) ++damaged;
  if (block.capacity >= kPunchBytes) {
    const size_t page = 4096;
    const size_t offset = (start - device_base_ + page - 1) / page * page;
    const size_t end = (start - device_base_ + block.capacity) / page * page;
    fallocate(memory_file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
              static_cast<off_t>(end - offset));
  }
  auto hole = holes_.emplace(start, block.capacity).first;
  const auto next = std::next(hole);
  if (next != holes_.end() && hole->first + hole->second == next->first) {
    hole->second += next->second;
    holes_.erase(next);
  }
  if (hole != holes_.begin()) {
    const auto previous = std::prev(hole);
    if (previous->first + previous->second == hole->first) {
      previous->second += hole->second;
      holes_.erase(hole);
    }
  }
  if (damaged < block.capacity) {
    *why = "byte " + std::to_string(damaged - block.bytes) + " past the end of the allocation " +
           Describe(address, block.bytes) + " was overwritten";
    return false;
  }
  return true;
}

bool DeviceMemory::Owns(const void* address) const {
  const uintptr_t value = reinterpret_cast<uintptr_t>(address);
  return value >= device_base_ && value < device_base_ + arena_bytes_;
}

const DeviceMemory::Block* DeviceMemory::Find(uintptr_t address, uintptr_t* start) const {
  auto found = live_.upper_bound(address);
  if (found == live_.begin()) return nullptr;
  --found;
  *start = found->first;
  return address < found->first + found->second.capacity ? &found->second : nullptr;
}

int32_t DeviceMemory::DeviceOf(const void* address) const {
  std::lock_guard<std::mutex> lock(mutex_);
  uintptr_t start = 0;
  const Block* block = Find(reinterpret_cast<uintptr_t>(address), &start);
  return block ? block->device : -1;
}

void* DeviceMemory::View(const void* address, size_t bytes, std::string* why) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const uintptr_t value = reinterpret_cast<uintptr_t>(address);
  uintptr_t start = 0;
  const Block* block = Find(value, &start);
  if (block == nullptr) {
    *why = Describe(address, bytes) +
           (Owns(address) ? " is freed or unallocated device memory" : " is not device memory");
    return nullptr;
  }
  if (value - start > block->bytes || bytes > block->bytes - (value - start)) {
    *why = Describe(address, bytes) + " leaves its device allocation " +
           Describe(reinterpret_cast<void*>(start), block->bytes);
    return nullptr;
  }
  return reinterpret_cast<void*>(value - device_base_ + view_base_);
}

void DeviceMemory::Info(int32_t device, size_t* free_bytes, size_t* total_bytes) const {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t used = 0;
  for (const auto& [start, block] : live_) used += block.device == device ? block.capacity : 0;
  *total_bytes = device_bytes_;
  *free_bytes = device_bytes_ - used;
}

size_t DeviceMemory::LiveAllocations() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return live_.size();
}

size_t DeviceMemory::LiveBytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t bytes = 0;
  for (const auto& [start, block] : live_) bytes += block.bytes;
  return bytes;
}

}  // namespace loopback_acl
