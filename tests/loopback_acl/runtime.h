// What the parts of the loopback runtime share: its configuration, error reporting, and the calling
// thread's device. No ACL call is defined here.
#pragma once

#include <cstdint>
#include <string>

namespace loopback_acl {

// Read once from the environment.
struct Config {
  std::string soc;           // LOOPBACK_ACL_SOC, the name that aclrtGetSocName reports
  int32_t devices;           // LOOPBACK_ACL_DEVICES
  int64_t device_megabytes;  // LOOPBACK_ACL_MEGABYTES, per device
  bool asynchronous;      // LOOPBACK_ACL_STREAMS=async: a thread per stream; eager: on the calling
                          // thread
  uint64_t seed;          // LOOPBACK_ACL_SEED of the delays
  uint32_t max_delay_us;  // LOOPBACK_ACL_MAX_DELAY_US before a task of an asynchronous stream
  bool log;  // LOOPBACK_ACL_LOG=1 prints aclAppLog, which tells every failed symbol look-up

  static const Config& Get();
};

// Sets the calling thread's error text and returns the code, so that a check is one line: return
// Fail(code, text).
int Fail(int code, const std::string& text);

// A rule of the real device was broken where no return code can say so (inside a stream, at a
// free): printed at once, and the process ends with kViolationExitCode however well it goes on.
void Violation(const std::string& text);

constexpr int kViolationExitCode = 97;

const char* RecentErrorText();

// The device that the thread chose, or -1: every call that needs a context fails without it, as on
// hardware.
int32_t CurrentDevice();
void SetCurrentDevice(int32_t device);

}  // namespace loopback_acl
