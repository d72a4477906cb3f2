/* What the loopback runtime offers beyond ACL, to the operators that run on it and to the tests.
 * Nothing of the product may include this. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The host memory behind [address, address + bytes) of device memory, for code that plays the
 * device. Null after a violation when one live allocation does not hold all of it. */
void* LoopbackAclView(const void* address, uint64_t bytes);

/* Reports a broken rule: printed, the stream that runs now fails, and the process will end with
 * exit code 97. */
void LoopbackAclViolation(const char* text);
uint64_t LoopbackAclViolations(void);

/* For tests that provoke violations. */
void LoopbackAclForgiveViolations(void);

/* What aclGetRecentErrMsg says next on this thread. */
void LoopbackAclSetError(const char* text);

/* The device of the live allocation around the address, or -1. */
int32_t LoopbackAclDeviceOf(const void* address);

/* The device of a stream, or -1 for an unknown handle. */
int32_t LoopbackAclStreamDevice(void* stream);

uint64_t LoopbackAclLiveAllocations(void);
uint64_t LoopbackAclLiveBytes(void);

/* The number of tasks that the asynchronous streams have started. */
uint64_t LoopbackAclTasksRun(void);

#ifdef __cplusplus
}
#endif
