// Turns a kernel's access to memory that is not there (a raw __gm__ pointer followed, its stack
// overrun) into an exit from the kernel instead of the end of the process. Only while a kernel
// runs, and only for faults of the thread that runs it.
#pragma once

#include <csetjmp>
#include <functional>
#include <string>

namespace executor {

// While one exists, SIGSEGV and SIGBUS go to the guard that is active on the faulting thread; all
// others as before.
class EscapeHandlers {
 public:
  EscapeHandlers();
  ~EscapeHandlers();
  EscapeHandlers(const EscapeHandlers&) = delete;
  EscapeHandlers& operator=(const EscapeHandlers&) = delete;
};

// The alternate signal stack of one host thread, without which an overrun stack could not be
// handled.
class EscapeStack {
 public:
  EscapeStack();
  ~EscapeStack();
  EscapeStack(const EscapeStack&) = delete;
  EscapeStack& operator=(const EscapeStack&) = delete;

 private:
  void* memory_ = nullptr;
};

// Where the fiber goes on when its kernel faults. Set before the fiber runs on this thread, cleared
// (null) after.
struct EscapePoint {
  sigjmp_buf jump;
  void* address = nullptr;  // that the kernel touched
};
void SetEscapePoint(EscapePoint* point);

}  // namespace executor
