// Configuration, error text and violation counting of the loopback runtime.
#include "runtime.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "loopback_acl.h"
#include "memory.h"
#include "stream.h"

namespace loopback_acl {
namespace {

std::string Text(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : otherwise;
}

int64_t Number(const char* name, const char* otherwise) {
  const std::string text = Text(name, otherwise);
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (*end != '\0' || value < 0) {
    std::fprintf(stderr, "loopback_acl: %s must be a count, got '%s'\n", name, text.c_str());
    std::abort();
  }
  return value;
}

bool IsAsynchronous() {
  const std::string mode = Text("LOOPBACK_ACL_STREAMS", "async");
  if (mode != "async" && mode != "eager") {
    std::fprintf(stderr, "loopback_acl: LOOPBACK_ACL_STREAMS must be async or eager, got '%s'\n",
                 mode.c_str());
    std::abort();
  }
  return mode == "async";
}

std::atomic<uint64_t> violations{0};
thread_local std::string recent_error;
thread_local int32_t current_device = -1;

// Runs after the Python interpreter and torch are gone; _exit, because nothing that a later
// destructor could still do matters once a rule was broken.
struct ExitReport {
  ~ExitReport() {
    const uint64_t count = violations.load();
    if (count == 0) return;
    std::fprintf(stderr, "loopback_acl: %llu violation(s), exit code %d\n",
                 static_cast<unsigned long long>(count), kViolationExitCode);
    std::fflush(nullptr);
    _exit(kViolationExitCode);
  }
};
ExitReport exit_report;

}  // namespace

const Config& Config::Get() {
  static const Config* config =
      new Config{Text("LOOPBACK_ACL_SOC", "Ascend910B1"),
                 static_cast<int32_t>(Number("LOOPBACK_ACL_DEVICES", "1")),
                 Number("LOOPBACK_ACL_MEGABYTES", "16384"),
                 IsAsynchronous(),
                 static_cast<uint64_t>(Number("LOOPBACK_ACL_SEED", "0")),
                 static_cast<uint32_t>(Number("LOOPBACK_ACL_MAX_DELAY_US", "200")),
                 Number("LOOPBACK_ACL_LOG", "0") != 0};
  return *config;
}

int Fail(int code, const std::string& text) {
  recent_error = "loopback_acl: " + text;
  return code;
}

void Violation(const std::string& text) {
  violations.fetch_add(1);
  std::fprintf(stderr, "loopback_acl: VIOLATION: %s\n", text.c_str());
  Stream::FailCurrent();
}

const char* RecentErrorText() { return recent_error.c_str(); }

int32_t CurrentDevice() { return current_device; }
void SetCurrentDevice(int32_t device) { current_device = device; }

}  // namespace loopback_acl

using loopback_acl::DeviceMemory;

extern "C" {

void* LoopbackAclView(const void* address, uint64_t bytes) {
  std::string why;
  void* view = DeviceMemory::Get().View(address, bytes, &why);
  if (view == nullptr) loopback_acl::Violation(why);
  return view;
}

void LoopbackAclSetError(const char* text) { loopback_acl::Fail(0, text); }
void LoopbackAclViolation(const char* text) { loopback_acl::Violation(text); }
uint64_t LoopbackAclViolations(void) { return loopback_acl::violations.load(); }
void LoopbackAclForgiveViolations(void) { loopback_acl::violations.store(0); }
int32_t LoopbackAclDeviceOf(const void* address) { return DeviceMemory::Get().DeviceOf(address); }
uint64_t LoopbackAclLiveAllocations(void) { return DeviceMemory::Get().LiveAllocations(); }
uint64_t LoopbackAclLiveBytes(void) { return DeviceMemory::Get().LiveBytes(); }
}
