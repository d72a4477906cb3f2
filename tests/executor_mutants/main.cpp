// Runs a problem with the kernel of mutant.cpp under the real plan and prints the findings.
// Usage: mutant SOC DTYPE N C S G SEED...
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../kernels/executor/core/random.h"
#include "../../kernels/executor/run.h"

namespace {

using group_norm_grad::DType;

// Values between -2 and 2, or above 0.5 where `positive`.
std::vector<uint8_t> RandomValues(int64_t elems, DType dtype, bool positive,
                                  executor::Random& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(elems * group_norm_grad::SizeOf(dtype)));
  for (int64_t i = 0; i < elems; ++i) {
    const float uniform = static_cast<float>(random.Below(4001)) / 1000.0f;
    const float value = positive ? 0.5f + uniform / 4.0f : uniform - 2.0f;
    if (dtype == DType::kFloat32) {
      std::memcpy(&bytes[static_cast<size_t>(i) * 4], &value, 4);
    } else {
      const uint16_t narrow = dtype == DType::kFloat16 ? executor::FloatToHalfRint(value)
                                                       : executor::FloatToBf16Rint(value);
      std::memcpy(&bytes[static_cast<size_t>(i) * 2], &narrow, 2);
    }
  }
  return bytes;
}

uint64_t Digest(const std::vector<std::vector<uint8_t>>& outputs) {
  uint64_t digest = 0xcbf29ce484222325;  // FNV-1a
  for (const auto& output : outputs) {
    for (uint8_t byte : output) digest = (digest ^ byte) * 0x100000001b3;
  }
  return digest;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 8) {
    std::fprintf(stderr, "usage: mutant SOC DTYPE N C S G SEED...\n");
    return 2;
  }
  const group_norm_grad::Platform* platform = group_norm_grad::FindPlatform(argv[1]);
  if (platform == nullptr) return 2;
  group_norm_grad::Problem problem;
  problem.N = std::atoll(argv[3]);
  problem.C = std::atoll(argv[4]);
  problem.S = std::atoll(argv[5]);
  problem.G = std::atoll(argv[6]);
  problem.dtype = std::string(argv[2]) == "bfloat16" ? DType::kBFloat16 : DType::kFloat32;
  problem.stat_dtype = problem.weight_dtype = problem.dtype;
  const int64_t numel = problem.N * problem.C * problem.S;
  const int64_t groups = problem.N * problem.G;
  executor::Random random(1);
  auto input = [&](int64_t elems, bool positive) {
    return RandomValues(elems, problem.dtype, positive, random);
  };
  const auto grad_out = input(numel, false);
  const auto x = input(numel, false);
  const auto mean = input(groups, false);
  const auto rstd = input(groups, true);
  const auto weight = input(problem.C, true);
  std::vector<uint8_t> grad_input(grad_out.size());
  std::vector<uint8_t> grad_weight(weight.size());
  std::vector<uint8_t> grad_bias(weight.size());
  executor::GroupNormGradBuffers buffers;
  buffers.grad_out = {grad_out.data(), grad_out.size()};
  buffers.input = {x.data(), x.size()};
  buffers.mean = {mean.data(), mean.size()};
  buffers.rstd = {rstd.data(), rstd.size()};
  buffers.weight = {weight.data(), weight.size()};
  buffers.grad_input = {grad_input.data(), grad_input.size()};
  buffers.grad_weight = {grad_weight.data(), grad_weight.size()};
  buffers.grad_bias = {grad_bias.data(), grad_bias.size()};
  const group_norm_grad::Plan plan = group_norm_grad::MakePlan(problem, *platform);
  std::printf("schedule %s\n", group_norm_grad::Name(plan.schedule));
  for (int i = 7; i < argc; ++i) {
    for (auto* output : {&grad_input, &grad_weight, &grad_bias}) {
      std::fill(output->begin(), output->end(), uint8_t{0});
    }
    executor::RunOptions options;
    options.launch.seed = std::strtoull(argv[i], nullptr, 10);
    const executor::Report report =
        executor::RunGroupNormGrad(plan, *platform, problem, buffers, options);
    std::printf("seed %s completed %d digest %016llx\n", argv[i], report.completed ? 1 : 0,
                static_cast<unsigned long long>(Digest({grad_input, grad_weight, grad_bias})));
    for (const executor::Finding& finding : report.findings) {
      std::printf("finding %s: %s\n", finding.check.c_str(), finding.text.c_str());
    }
  }
  return 0;
}
