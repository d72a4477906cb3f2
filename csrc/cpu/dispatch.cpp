// Which instruction sets were built (GROUP_NORM_GRAD_WITH_*, from the build), which this processor
// has, and which one is wanted.
#include "dispatch.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace group_norm_grad::cpu {
namespace {

struct Candidate {
  const KernelTable& (*table)();
  bool supported;
};

const KernelTable& Choose() {
  // The widest first.
  const Candidate candidates[] = {
#ifdef GROUP_NORM_GRAD_WITH_AVX512
      {isa_avx512::Table, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                              __builtin_cpu_supports("avx512vl") &&
                              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")},
#endif
#ifdef GROUP_NORM_GRAD_WITH_AVX2
      {isa_avx2::Table, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                            __builtin_cpu_supports("f16c")},
#endif
#ifdef __aarch64__
      {isa_neon::Table, true},
#else
      {isa_default::Table, true},
#endif
  };
  const char* wanted = std::getenv("GROUP_NORM_GRAD_ISA");
  std::string built;
  for (const Candidate& candidate : candidates) {
    const KernelTable& table = candidate.table();
    built += std::string(built.empty() ? "" : ", ") + table.isa;
    if (wanted == nullptr || *wanted == '\0') {
      if (candidate.supported) return table;
    } else if (std::strcmp(wanted, table.isa) == 0) {
      TORCH_CHECK(candidate.supported, "GROUP_NORM_GRAD_ISA=", wanted,
                  " asks for an instruction set that this processor does not have");
      return table;
    }
  }
  TORCH_CHECK(false, "Expected GROUP_NORM_GRAD_ISA to be one of ", built, ", but got ", wanted);
}

}  // namespace

const KernelTable& KernelsInUse() {
  static const KernelTable& table = Choose();
  return table;
}

}  // namespace group_norm_grad::cpu
