// The ACL calls about the process and its devices: initialisation, device and context choice,
// names, options, error text, log. Declared by the real ACL headers, so that a wrong signature does
// not compile.
#include <acl/acl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "error_codes/rt_error_codes.h"
#include "loopback_acl.h"
#include "runtime.h"

namespace {

using loopback_acl::Config;
using loopback_acl::CurrentDevice;
using loopback_acl::Fail;
using loopback_acl::SetCurrentDevice;

std::mutex state_mutex;
bool initialized = false;
std::map<int32_t, int64_t> process_options;
std::map<std::pair<int32_t, int32_t>, int64_t> context_options;  // by device and option

// A context is its device's: the handle is the address of that device's element.
char* Contexts() {
  static std::vector<char>* contexts =
      new std::vector<char>(static_cast<size_t>(Config::Get().devices));
  return contexts->data();
}

bool IsDevice(int64_t device) { return device >= 0 && device < Config::Get().devices; }

int NoContext() { return Fail(ACL_ERROR_RT_CONTEXT_NULL, "this thread has chosen no device"); }

}  // namespace

extern "C" {

aclError aclInit(const char* config_path) {
  (void)config_path;
  std::lock_guard<std::mutex> lock(state_mutex);
  if (initialized) return Fail(ACL_ERROR_REPEAT_INITIALIZE, "aclInit was called twice");
  initialized = true;
  return ACL_SUCCESS;
}

aclError aclFinalize() {
  std::lock_guard<std::mutex> lock(state_mutex);
  if (!initialized) return Fail(ACL_ERROR_UNINITIALIZE, "aclFinalize without aclInit");
  initialized = false;
  const uint64_t live = LoopbackAclLiveAllocations();
  if (live > 0) {
    std::fprintf(stderr,
                 "loopback_acl: LEAK: %llu device allocation(s), %llu bytes, live at aclFinalize\n",
                 static_cast<unsigned long long>(live),
                 static_cast<unsigned long long>(LoopbackAclLiveBytes()));
  }
  return ACL_SUCCESS;
}

aclError aclrtGetDeviceCount(uint32_t* count) {
  *count = static_cast<uint32_t>(Config::Get().devices);
  return ACL_SUCCESS;
}

aclError aclrtSetDevice(int32_t device) {
  {
    std::lock_guard<std::mutex> lock(state_mutex);
    if (!initialized) return Fail(ACL_ERROR_UNINITIALIZE, "aclrtSetDevice before aclInit");
  }
  if (!IsDevice(device)) {
    return Fail(ACL_ERROR_RT_INVALID_DEVICEID, "there is no device " + std::to_string(device));
  }
  SetCurrentDevice(device);
  return ACL_SUCCESS;
}

aclError aclrtGetDevice(int32_t* device) {
  if (CurrentDevice() < 0) return NoContext();
  *device = CurrentDevice();
  return ACL_SUCCESS;
}

aclError aclrtResetDevice(int32_t device) {
  if (!IsDevice(device)) {
    return Fail(ACL_ERROR_RT_INVALID_DEVICEID, "there is no device " + std::to_string(device));
  }
  const aclError status = aclrtSynchronizeDevice();
  if (CurrentDevice() == device) SetCurrentDevice(-1);
  return status;
}

aclError aclrtGetCurrentContext(aclrtContext* context) {
  if (CurrentDevice() < 0) return NoContext();
  *context = Contexts() + CurrentDevice();
  return ACL_SUCCESS;
}

aclError aclrtSetCurrentContext(aclrtContext context) {
  const int64_t device = static_cast<char*>(context) - Contexts();
  if (context == nullptr || !IsDevice(device))
    return Fail(ACL_ERROR_RT_CONTEXT_NULL, "unknown context");
  SetCurrentDevice(static_cast<int32_t>(device));
  return ACL_SUCCESS;
}

const char* aclrtGetSocName() { return Config::Get().soc.c_str(); }

aclError aclrtDeviceGetBareTgid(int32_t* pid) {
  *pid = getpid();
  return ACL_SUCCESS;
}

aclError aclrtDeviceCanAccessPeer(int32_t* can_access, int32_t device, int32_t peer) {
  *can_access = IsDevice(device) && IsDevice(peer) && device != peer;
  return ACL_SUCCESS;
}

aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t flags) {
  (void)flags;
  return IsDevice(peer) ? ACL_SUCCESS : Fail(ACL_ERROR_RT_INVALID_DEVICEID, "no such peer device");
}

aclError aclGetDeviceCapability(uint32_t device, aclDeviceInfo info, int64_t* value) {
  (void)device;
  // Counts of a middling part: only torch_npu's own heuristics ask for them.
  if (info == ACL_DEVICE_INFO_AI_CORE_NUM) {
    *value = 24;
  } else if (info == ACL_DEVICE_INFO_VECTOR_CORE_NUM) {
    *value = 48;
  } else {
    return Fail(ACL_ERROR_INVALID_PARAM, "unknown device capability " + std::to_string(info));
  }
  return ACL_SUCCESS;
}

aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value) {
  std::lock_guard<std::mutex> lock(state_mutex);
  process_options[option] = value;
  return ACL_SUCCESS;
}

aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t* value) {
  std::lock_guard<std::mutex> lock(state_mutex);
  *value = process_options[option];  // 0, off, until it is set
  return ACL_SUCCESS;
}

aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value) {
  if (CurrentDevice() < 0) return NoContext();
  std::lock_guard<std::mutex> lock(state_mutex);
  context_options[{CurrentDevice(), option}] = value;
  return ACL_SUCCESS;
}

aclError aclrtCtxGetSysParamOpt(aclSysParamOpt option, int64_t* value) {
  if (CurrentDevice() < 0) return NoContext();
  std::lock_guard<std::mutex> lock(state_mutex);
  *value = context_options[{CurrentDevice(), option}];
  return ACL_SUCCESS;
}

// These set modes that have no meaning without a device.
aclError aclrtSetStreamOverflowSwitch(aclrtStream stream, uint32_t flag) {
  (void)stream, (void)flag;
  return ACL_SUCCESS;
}

aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode) {
  (void)mode;
  return ACL_SUCCESS;
}

aclError aclrtSetOpExecuteTimeOut(uint32_t timeout) {
  (void)timeout;
  return ACL_SUCCESS;
}

const char* aclGetRecentErrMsg() { return loopback_acl::RecentErrorText(); }

void aclAppLog(aclLogLevel level, const char* function, const char* file, uint32_t line,
               const char* format, ...) {
  if (!Config::Get().log) return;
  std::fprintf(stderr, "loopback_acl: log %d %s (%s:%u): ", static_cast<int>(level), function, file,
               line);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
}
}
