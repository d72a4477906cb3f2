// What the CPU kernels would do, in words: nothing is computed here.
#include <c10/util/Exception.h>

#include "call.h"
#include "dispatch.h"
#include "group_norm.h"

namespace group_norm_grad::cpu {

const char* isa_in_use() { return KernelsInUse().isa; }

std::string describe_plan(const std::string& direction, const std::string& dtype,
                          bool channels_last, int64_t N, int64_t C, int64_t HxW, int64_t group) {
  TORCH_CHECK(direction == "backward" || direction == "forward",
              "Expected direction to be backward or forward, got ", direction);
  TORCH_CHECK(N > 0 && C > 0 && HxW > 0, "Expected N, C and HxW to be positive, got N=", N,
              ", C=", C, ", HxW=", HxW);
  const CheckResult accepted = CheckAttributes(N, C, HxW, group);
  TORCH_CHECK(accepted, accepted.text);
  Problem problem;
  problem.N = N;
  problem.C = C;
  problem.S = HxW;
  problem.G = group;
  bool known = false;
  for (const DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64}) {
    if (dtype != Name(type)) continue;
    problem.dtype = type;
    known = true;
  }
  TORCH_CHECK(known, "Expected dtype to be float32, float16, bfloat16 or float64, got ", dtype);
  const Machine machine = ThisMachine(KernelsInUse(), problem);
  return ToString(direction == "backward" ? MakeBackwardPlan(problem, channels_last, machine)
                                          : MakeForwardPlan(problem, channels_last, machine));
}

}  // namespace group_norm_grad::cpu
