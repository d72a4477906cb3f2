// How cores tell each other that they have come so far, without waiting for it at once.
#pragma once

#include "vector_ops.h"

namespace group_norm_grad {

// Flags 0 to 10 are the kernel's; a round has one, set and waited for once.
class RoundFlags {
 public:
  // This core's stores so far are for the others to see.
  __aicore__ inline void Signal(int32_t round) {
    for (; signalled_ <= round; ++signalled_) {
      AscendC::CrossCoreSetFlag<kAllVectorCores, PIPE_MTE3>(static_cast<uint16_t>(signalled_));
    }
  }

  // Loads that follow see what every core stored before its signal. Every core waits for every
  // round.
  __aicore__ inline void Wait(int32_t round) {
    for (; waited_ <= round; ++waited_) {
      AscendC::CrossCoreWaitFlag<kAllVectorCores, PIPE_MTE2>(static_cast<uint16_t>(waited_));
    }
  }

  __aicore__ inline bool HasSignalled(int32_t round) const { return round < signalled_; }

 private:
  static constexpr uint8_t kAllVectorCores = 0;
  int32_t signalled_ = 0, waited_ = 0;
};

}  // namespace group_norm_grad
