// How cores tell each other that they have come so far, without waiting for it at once.
#pragma once

#include "vector_ops.h"

namespace group_norm_grad {

// Flags 0 to 10 are the kernel's. It takes them in order from 0 on, and every core sets and waits
// for each once.
class CoreFlags {
 public:
  // This core's stores so far are for the others to see: sets this flag and those before it.
  __aicore__ inline void Signal(int32_t flag) {
    for (; signalled_ <= flag; ++signalled_) {
      AscendC::CrossCoreSetFlag<kAllVectorCores, PIPE_MTE3>(static_cast<uint16_t>(signalled_));
    }
  }

  // Loads that follow see what every core stored before its signal.
  __aicore__ inline void Wait(int32_t flag) {
    for (; waited_ <= flag; ++waited_) {
      AscendC::CrossCoreWaitFlag<kAllVectorCores, PIPE_MTE2>(static_cast<uint16_t>(waited_));
    }
  }

  __aicore__ inline bool HasSignalled(int32_t flag) const { return flag < signalled_; }

 private:
  static constexpr uint8_t kAllVectorCores = 0;
  int32_t signalled_ = 0, waited_ = 0;
};

}  // namespace group_norm_grad
