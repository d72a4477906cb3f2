// What the plan and the models know about one SoC. Numbers only: no query of a driver, nothing of
// torch or CANN.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace group_norm_grad {

// Sizes in bytes, rates in GB/s of 1e9 bytes. One Platform is one die as the runtime shows it (a
// device).
struct Platform {
  const char* soc;       // as aclrtGetSocName spells it
  int32_t arch;          // __NPU_ARCH__: 2201 (Atlas A2 and A3) or 3510 (Ascend 950)
  int32_t vector_cores;  // AIV cores, the largest block count of a launch that synchronises
  int64_t ub_bytes;      // unified buffer of one vector core that a kernel may use
  int32_t clock_mhz;     // of the vector core
  int64_t l2_bytes;
  double hbm_gb_per_s;  // what the roofline uses; read and written bytes share it
  double l2_gb_per_s;
};

// Null when the name is none of PlatformNames(). A name with a suffix that only tells the board
// ("Ascend950PR_9589") matches its family.
const Platform* FindPlatform(std::string_view soc);

std::vector<std::string_view> PlatformNames();

}  // namespace group_norm_grad
