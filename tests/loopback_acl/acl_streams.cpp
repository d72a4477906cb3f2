// The ACL calls about streams, events and host functions.
#include "acl_streams.h"

#include <acl/acl.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "error_codes/rt_error_codes.h"
#include "loopback_acl.h"
#include "runtime.h"

namespace loopback_acl {
namespace {

// Handles are looked up, never dereferenced and never given twice: a stale one is an error, not a
// crash, and not another stream.
struct Registry {
  std::mutex mutex;
  uintptr_t handles_made = 0;
  uint64_t streams_made = 0;
  std::map<void*, std::shared_ptr<Stream>> streams;
  std::map<int32_t, std::shared_ptr<Stream>> default_streams;  // by device
  std::map<void*, std::shared_ptr<Event>> events;

  static Registry& Get() {
    static Registry* registry = new Registry;
    return *registry;
  }

  void* NewHandle() { return reinterpret_cast<void*>(++handles_made << 4); }  // with the mutex held
};

std::shared_ptr<Event> ShareEvent(void* handle) {
  Registry& registry = Registry::Get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found = registry.events.find(handle);
  return found == registry.events.end() ? nullptr : found->second;
}

int BadEvent() { return Fail(ACL_ERROR_INVALID_RESOURCE_HANDLE, "unknown event"); }

int StreamStatus(bool ok) {
  return ok ? ACL_SUCCESS : Fail(ACL_ERROR_RT_AICORE_EXCEPTION, "a task of the stream failed");
}

int CreateEvent(aclrtEvent* handle) {
  auto event = std::make_shared<Event>();
  Registry& registry = Registry::Get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  *handle = registry.NewHandle();
  registry.events[*handle] = std::move(event);
  return ACL_SUCCESS;
}

}  // namespace

std::shared_ptr<Stream> FindStream(void* handle) {
  Registry& registry = Registry::Get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  if (handle != nullptr) {
    const auto found = registry.streams.find(handle);
    return found == registry.streams.end() ? nullptr : found->second;
  }
  if (CurrentDevice() < 0) return nullptr;
  std::shared_ptr<Stream>& stream = registry.default_streams[CurrentDevice()];
  if (!stream) stream = std::make_shared<Stream>(CurrentDevice(), ++registry.streams_made);
  return stream;
}

int BadStream(void* handle) {
  return handle ? Fail(ACL_ERROR_INVALID_RESOURCE_HANDLE, "unknown stream")
                : Fail(ACL_ERROR_RT_CONTEXT_NULL,
                       "no default stream: this thread has chosen no device");
}

}  // namespace loopback_acl

using namespace loopback_acl;  // NOLINT: the calls below are this file's purpose

extern "C" {

aclError aclrtCreateStream(aclrtStream* handle) {
  if (CurrentDevice() < 0) return BadStream(nullptr);
  Registry& registry = Registry::Get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  auto stream = std::make_shared<Stream>(CurrentDevice(), ++registry.streams_made);
  *handle = registry.NewHandle();
  registry.streams[*handle] = std::move(stream);
  return ACL_SUCCESS;
}

aclError aclrtCreateStreamWithConfig(aclrtStream* handle, uint32_t priority, uint32_t flag) {
  (void)priority, (void)flag;
  return aclrtCreateStream(handle);
}

aclError aclrtDestroyStream(aclrtStream handle) {
  std::shared_ptr<Stream> stream;
  {
    Registry& registry = Registry::Get();
    std::lock_guard<std::mutex> lock(registry.mutex);
    const auto found = registry.streams.find(handle);
    if (found == registry.streams.end()) return BadStream(handle ? handle : &registry);
    stream = std::move(found->second);
    registry.streams.erase(found);
  }
  return StreamStatus(stream->Synchronize());
}

aclError aclrtDestroyStreamForce(aclrtStream handle) { return aclrtDestroyStream(handle); }

aclError aclrtSynchronizeStream(aclrtStream handle) {
  const auto stream = FindStream(handle);
  return stream ? StreamStatus(stream->Synchronize()) : BadStream(handle);
}

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream handle, int32_t timeout) {
  (void)timeout;
  return aclrtSynchronizeStream(handle);
}

aclError aclrtStreamQuery(aclrtStream handle, aclrtStreamStatus* status) {
  const auto stream = FindStream(handle);
  if (!stream) return BadStream(handle);
  *status = stream->Idle() ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeDevice() {
  if (CurrentDevice() < 0) return BadStream(nullptr);
  std::vector<std::shared_ptr<Stream>> streams;
  {
    Registry& registry = Registry::Get();
    std::lock_guard<std::mutex> lock(registry.mutex);
    for (const auto& [handle, stream] : registry.streams) streams.push_back(stream);
    for (const auto& [device, stream] : registry.default_streams) streams.push_back(stream);
  }
  bool ok = true;
  for (const auto& stream : streams) {
    if (stream->device() == CurrentDevice()) ok = stream->Synchronize() && ok;
  }
  return StreamStatus(ok);
}

aclError aclrtSynchronizeDeviceWithTimeout(int32_t timeout) {
  (void)timeout;
  return aclrtSynchronizeDevice();
}

aclError aclrtLaunchHostFunc(aclrtStream handle, aclrtHostFunc function, void* argument) {
  const auto stream = FindStream(handle);
  if (!stream) return BadStream(handle);
  stream->Enqueue([function, argument] { function(argument); });
  return ACL_SUCCESS;
}

aclError aclrtCreateEvent(aclrtEvent* event) { return CreateEvent(event); }

aclError aclrtCreateEventWithFlag(aclrtEvent* event, uint32_t flag) {
  (void)flag;
  return CreateEvent(event);
}

aclError aclrtCreateEventExWithFlag(aclrtEvent* event, uint32_t flag) {
  (void)flag;
  return CreateEvent(event);
}

aclError aclrtDestroyEvent(aclrtEvent event) {
  Registry& registry = Registry::Get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  return registry.events.erase(event) == 1 ? ACL_SUCCESS : BadEvent();
}

aclError aclrtRecordEvent(aclrtEvent handle, aclrtStream stream_handle) {
  const auto event = ShareEvent(handle);
  const auto stream = FindStream(stream_handle);
  if (!event) return BadEvent();
  if (!stream) return BadStream(stream_handle);
  const uint64_t number = event->Announce();
  stream->Enqueue([event, number] { event->Complete(number); });
  return ACL_SUCCESS;
}

// On hardware this makes a SYNC event wait anew. Here a wait already looks only at the records
// before it.
aclError aclrtResetEvent(aclrtEvent handle, aclrtStream stream) {
  (void)stream;
  return ShareEvent(handle) ? ACL_SUCCESS : BadEvent();
}

aclError aclrtStreamWaitEvent(aclrtStream stream_handle, aclrtEvent handle) {
  const auto event = ShareEvent(handle);
  const auto stream = FindStream(stream_handle);
  if (!event) return BadEvent();
  if (!stream) return BadStream(stream_handle);
  const uint64_t number = event->Announced();
  stream->Enqueue([event, number] { event->Wait(number); });
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeEvent(aclrtEvent handle) {
  const auto event = ShareEvent(handle);
  if (!event) return BadEvent();
  event->Wait(event->Announced());
  return ACL_SUCCESS;
}

aclError aclrtQueryEventStatus(aclrtEvent handle, aclrtEventRecordedStatus* status) {
  const auto event = ShareEvent(handle);
  if (!event) return BadEvent();
  *status =
      event->Done() ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
  return ACL_SUCCESS;
}

aclError aclrtEventElapsedTime(float* milliseconds, aclrtEvent start, aclrtEvent end) {
  const auto first = ShareEvent(start);
  const auto last = ShareEvent(end);
  if (!first || !last) return BadEvent();
  const int64_t begin = first->CompletionNanoseconds();
  const int64_t finish = last->CompletionNanoseconds();
  if (begin < 0 || finish < 0)
    return Fail(ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID, "an event has no time yet");
  *milliseconds = static_cast<float>(finish - begin) * 1e-6f;
  return ACL_SUCCESS;
}

int32_t LoopbackAclStreamDevice(void* handle) {
  const auto stream = FindStream(handle);
  return stream ? stream->device() : -1;
}

uint64_t LoopbackAclTasksRun(void) { return TasksRun(); }
}
