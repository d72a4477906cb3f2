// The ACL calls about memory: allocation on device and host, copies whose direction and extent are
// checked, fills.
#include <acl/acl.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "acl_streams.h"
#include "error_codes/rt_error_codes.h"
#include "memory.h"
#include "runtime.h"

namespace {

using loopback_acl::CurrentDevice;
using loopback_acl::DeviceMemory;
using loopback_acl::Fail;

std::mutex host_mutex;
std::map<void*, size_t>& HostBlocks() {
  static auto* blocks = new std::map<void*, size_t>;
  return *blocks;
}

struct Sides {
  bool from_device;
  bool to_device;
};

// False for kinds that do not exist between one host and its devices.
bool SidesOf(aclrtMemcpyKind kind, const void* dst, const void* src, Sides* sides) {
  switch (kind) {
    case ACL_MEMCPY_HOST_TO_HOST:
      *sides = {false, false};
      return true;
    case ACL_MEMCPY_HOST_TO_DEVICE:
    case ACL_MEMCPY_HOST_TO_BUF_TO_DEVICE:
      *sides = {false, true};
      return true;
    case ACL_MEMCPY_DEVICE_TO_HOST:
      *sides = {true, false};
      return true;
    case ACL_MEMCPY_DEVICE_TO_DEVICE:
    case ACL_MEMCPY_INNER_DEVICE_TO_DEVICE:
    case ACL_MEMCPY_INTER_DEVICE_TO_DEVICE:
      *sides = {true, true};
      return true;
    case ACL_MEMCPY_DEFAULT:
      *sides = {DeviceMemory::Get().Owns(src), DeviceMemory::Get().Owns(dst)};
      return true;
  }
  return false;
}

// The pointer to use on the host for one side of a copy; null with the reason when the side is not
// what the kind says.
void* HostPointer(const void* address, size_t bytes, bool on_device, std::string* why) {
  if (on_device) return DeviceMemory::Get().View(address, bytes, why);
  if (address == nullptr || DeviceMemory::Get().Owns(address)) {
    *why = address ? "device memory was given as host memory"
                   : "a null pointer was given as host memory";
    return nullptr;
  }
  return const_cast<void*>(address);
}

std::string Copy(void* dst, const void* src, size_t bytes, Sides sides) {
  std::string why;
  const void* from = HostPointer(src, bytes, sides.from_device, &why);
  if (from == nullptr) return "copy source: " + why;
  void* to = HostPointer(dst, bytes, sides.to_device, &why);
  if (to == nullptr) return "copy destination: " + why;
  std::memmove(to, from, bytes);
  return {};
}

std::string Fill(void* address, int32_t value, size_t bytes) {
  std::string why;
  void* view = DeviceMemory::Get().View(address, bytes, &why);
  if (view == nullptr) return "fill: " + why;
  std::memset(view, value, bytes);
  return {};
}

// What is illegal at the call is refused at the call; a copy that becomes illegal before its turn
// (memory freed under it) is a violation.
template <typename Work>
int EnqueueChecked(aclrtStream handle, const Work& work) {
  const auto stream = loopback_acl::FindStream(handle);
  if (stream == nullptr) return loopback_acl::BadStream(handle);
  stream->Enqueue([work] {
    const std::string why = work();
    if (!why.empty()) loopback_acl::Violation(why);
  });
  return ACL_SUCCESS;
}

int TooLong(size_t bytes, size_t room) {
  return Fail(
      ACL_ERROR_INVALID_PARAM,
      "count " + std::to_string(bytes) + " is more than the destination's " + std::to_string(room));
}

}  // namespace

extern "C" {

aclError aclrtMalloc(void** address, size_t bytes, aclrtMemMallocPolicy policy) {
  (void)policy;
  if (CurrentDevice() < 0)
    return Fail(ACL_ERROR_RT_CONTEXT_NULL, "aclrtMalloc: this thread has chosen no device");
  if (bytes == 0) return Fail(ACL_ERROR_INVALID_PARAM, "aclrtMalloc of 0 bytes");
  void* memory = DeviceMemory::Get().Allocate(bytes, CurrentDevice());
  if (memory == nullptr) return Fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "out of device memory");
  *address = memory;
  return ACL_SUCCESS;
}

aclError aclrtMallocAlign32(void** address, size_t bytes, aclrtMemMallocPolicy policy) {
  return aclrtMalloc(address, bytes, policy);
}

aclError aclrtFree(void* address) {
  std::string why;
  if (DeviceMemory::Get().Free(address, &why)) return ACL_SUCCESS;
  loopback_acl::Violation("aclrtFree: " + why);
  return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtFree: " + why);
}

aclError aclrtMallocHost(void** address, size_t bytes) {
  void* memory = std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) return Fail(ACL_ERROR_BAD_ALLOC, "out of host memory");
  std::memset(memory, 0xFF, bytes);
  std::lock_guard<std::mutex> lock(host_mutex);
  HostBlocks()[memory] = bytes;
  *address = memory;
  return ACL_SUCCESS;
}

aclError aclrtFreeHost(void* address) {
  {
    std::lock_guard<std::mutex> lock(host_mutex);
    if (HostBlocks().erase(address) == 0) {
      loopback_acl::Violation("aclrtFreeHost of memory that aclrtMallocHost did not give");
      return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtFreeHost of unknown memory");
    }
  }
  std::free(address);
  return ACL_SUCCESS;
}

aclError aclrtMemcpy(void* dst, size_t room, const void* src, size_t bytes, aclrtMemcpyKind kind) {
  if (bytes > room) return TooLong(bytes, room);
  Sides sides;
  if (!SidesOf(kind, dst, src, &sides)) return Fail(ACL_ERROR_INVALID_PARAM, "unknown copy kind");
  const std::string why = Copy(dst, src, bytes, sides);
  return why.empty() ? ACL_SUCCESS : Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemcpy: " + why);
}

aclError aclrtMemcpyAsync(void* dst, size_t room, const void* src, size_t bytes,
                          aclrtMemcpyKind kind, aclrtStream stream) {
  if (bytes > room) return TooLong(bytes, room);
  Sides sides;
  if (!SidesOf(kind, dst, src, &sides)) return Fail(ACL_ERROR_INVALID_PARAM, "unknown copy kind");
  std::string why;
  if (HostPointer(src, bytes, sides.from_device, &why) == nullptr ||
      HostPointer(dst, bytes, sides.to_device, &why) == nullptr) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemcpyAsync: " + why);
  }
  return EnqueueChecked(stream, [=] { return Copy(dst, src, bytes, sides); });
}

aclError aclrtMemset(void* address, size_t room, int32_t value, size_t bytes) {
  if (bytes > room) return TooLong(bytes, room);
  const std::string why = Fill(address, value, bytes);
  return why.empty() ? ACL_SUCCESS : Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemset: " + why);
}

aclError aclrtMemsetAsync(void* address, size_t room, int32_t value, size_t bytes,
                          aclrtStream stream) {
  if (bytes > room) return TooLong(bytes, room);
  std::string why;
  if (DeviceMemory::Get().View(address, bytes, &why) == nullptr) {
    return Fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemsetAsync: " + why);
  }
  return EnqueueChecked(stream, [=] { return Fill(address, value, bytes); });
}

aclError aclrtGetMemInfo(aclrtMemAttr attribute, size_t* free_bytes, size_t* total_bytes) {
  (void)attribute;
  if (CurrentDevice() < 0)
    return Fail(ACL_ERROR_RT_CONTEXT_NULL, "this thread has chosen no device");
  DeviceMemory::Get().Info(CurrentDevice(), free_bytes, total_bytes);
  return ACL_SUCCESS;
}
}
