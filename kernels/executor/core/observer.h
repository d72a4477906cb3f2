// What core/ tells the observers: every check, counter and cost model is one of them. Core state is
// read-only to them. Calls for one core come from one thread at a time; different cores may report
// at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "footprint.h"
#include "instr.h"
#include "memory.h"

namespace executor {

// What the launch runs on. Taken from the platform by run.cpp, or made up by a test.
struct Device {
  std::string name = "test";
  int32_t arch = 2201;        // __NPU_ARCH__
  int32_t vector_cores = 48;  // physical
  uint32_t ub_bytes = 0;      // usable by a kernel
};

struct UbBuffer {
  uint32_t offset = 0;
  uint32_t bytes = 0;
  const char* kind = "";  // "TQue VECIN", "TBuf", ...
  bool veccalc = false;   // at the position VECCALC
  Where where;
};

// Registers of a core that outlive a call, and where a call of their own last set them.
struct Registers {
  MaskMode mask_mode = MaskMode::kNormal;
  uint64_t mask[2] = {~0ull, ~0ull};
  Atomic atomic = Atomic::kNone;
  Type atomic_type = Type::kNone;
  bool saturate = false;
  bool initial_saturate = false;
  bool mask_explicit =
      false;  // set by a call of its own, not by the mask argument of an instruction
  Where mask_where;
  Where mode_where;
  Where atomic_where;
  Where ctrl_where;
};

enum class QueueEvent : uint8_t { kAlloc, kEnQue, kDeQue, kFree };

struct QueueCall {
  QueueEvent event = QueueEvent::kAlloc;
  int32_t buffer = -1;            // index in CoreView::ub_buffers
  const char* problem = nullptr;  // why the call is wrong; null when it is right
  Where where;
};

// The view of a core that observers get.
struct CoreView {
  int32_t block = 0;   // GetBlockIdx
  int32_t blocks = 0;  // GetBlockNum
  std::vector<UbBuffer> ub_buffers;
  Registers registers;
  const uint8_t* ub = nullptr;
  bool cross_core_scheduler = true;  // false once the kernel declares a type without it
};

struct LaunchView {
  const Device& device;
  const GlobalMemory& memory;
  int32_t blocks = 0;
  bool auto_sync = false;  // the compiler option that orders dependent V instructions on 2201
};

// Every core has returned or waits for ever.
struct Deadlock {
  Instr wait;           // SyncAll or CrossCoreWaitFlag, of the first of the cores that wait
  int32_t waiting = 0;  // cores at this wait
  int32_t ended = 0;    // cores that have returned
  int32_t core = 0;     // one that has not set the flag as often as it is waited for
  uint32_t sets = 0;
  uint32_t awaited = 0;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void BeginLaunch(const LaunchView&) {}
  virtual void BeginCore(const CoreView&) {}
  // In program order, when the scalar unit issues it.
  virtual void OnIssue(const CoreView&, const Instr&, const AccessList&) {}
  // In the order the schedule chose, just before it takes effect.
  virtual void OnExecute(const CoreView&, const Instr&, const AccessList&) {}
  virtual void OnInitBuffer(const CoreView&, const UbBuffer&) {}
  virtual void OnQueue(const CoreView&, const QueueCall&) {}
  // A register set by a scalar call; the registers are in the view.
  virtual void OnRegister(const CoreView&, Where) {}
  // A call that is wrong in itself, told by core/ because only it can see it.
  virtual void OnMisuse(const CoreView&, const std::string&, Where) {}
  // The core can go on no further; `text` names what each pipe waits for.
  virtual void OnStuck(const CoreView&, const std::string&, Where) {}
  virtual void EndCore(const CoreView&) {}
  virtual void OnDeadlock(const Deadlock&) {}
  virtual void EndLaunch() {}
};

}  // namespace executor
