// What the arithmetic checks share: a table of checks, and a run of a kernel on one core over float
// buffers. No check is here.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../../kernels/executor/checked_launch.h"
#include "../../kernels/executor/core/random.h"
#include "kernel_operator.h"

namespace arithmetic {

using namespace AscendC;  // NOLINT: kernels are written against CANN's names

// A check returns what is wrong, or an empty string.
struct Check {
  const char* name;
  std::string (*run)();
};

inline std::vector<Check>& AllChecks() {
  static std::vector<Check> all;
  return all;
}

struct Register {
  Register(const char* name, std::string (*run)()) { AllChecks().push_back({name, run}); }
};

struct Tensors {
  GlobalTensor<float> x;
  GlobalTensor<float> y;
  LocalTensor<float> a, b, c, d;  // kElems each
};

constexpr uint32_t kElems = 4096;

template <HardEvent event>
void Order() {
  SetFlag<event>(0);
  WaitFlag<event>(0);
}

struct Outcome {
  std::vector<float> y;
  executor::Report report;
};

// Loads x into a, fills b, c and d with `fill`, runs the body and stores d to y. The body orders
// its own vector instructions.
inline Outcome RunBody(const std::vector<float>& x, const std::function<void(Tensors&)>& body,
                       int32_t arch = 2201, float fill = 0.0f, executor::Options options = {}) {
  Outcome outcome;
  std::vector<float> padded = x;
  padded.resize(kElems);
  outcome.y.assign(kElems, -1.0f);
  executor::GlobalMemory memory;
  const uint64_t bytes = kElems * sizeof(float);
  auto add = [&](const char* name, std::vector<float>& data, executor::BufferRole role) {
    return reinterpret_cast<__gm__ float*>(
        memory.Add({name, reinterpret_cast<uint8_t*>(data.data()), bytes, role, 0}));
  };
  __gm__ float* x_address = add("x", padded, executor::BufferRole::kInput);
  __gm__ float* y_address = add("y", outcome.y, executor::BufferRole::kOutput);
  executor::Device device;
  device.arch = arch;
  device.ub_bytes = 184 * 1024 - 256;
  if (options.seed == 0) options.seed = 1;
  auto kernel = [&] {
    TPipe pipe;
    TBuf<TPosition::VECIN> buffers[4];
    Tensors tensors;
    tensors.x.SetGlobalBuffer(x_address, kElems);
    tensors.y.SetGlobalBuffer(y_address, kElems);
    LocalTensor<float>* locals[4] = {&tensors.a, &tensors.b, &tensors.c, &tensors.d};
    for (int i = 0; i < 4; ++i) {
      pipe.InitBuffer(buffers[i], bytes);
      *locals[i] = buffers[i].Get<float>();
    }
    DataCopy(tensors.a, tensors.x, kElems);
    for (int i = 1; i < 4; ++i) Duplicate(*locals[i], fill, static_cast<int32_t>(kElems));
    Order<HardEvent::MTE2_V>();
    PipeBarrier<PIPE_V>();
    body(tensors);
    Order<HardEvent::V_MTE3>();
    DataCopy(tensors.y, tensors.d, kElems);
  };
  outcome.report = executor::CheckedLaunch(kernel, 1, device, memory, options);
  return outcome;
}

inline std::vector<float> RandomFloats(size_t count, uint64_t seed, float scale = 1.0f) {
  executor::Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    value = scale * (static_cast<float>(random.Below(2000001)) / 1000000.0f - 1.0f);
  }
  return values;
}

inline std::string Findings(const executor::Report& report) {
  std::string text;
  for (const executor::Finding& finding : report.findings) text += finding.text + "; ";
  return text;
}

// The first difference of bits, or an empty string; findings of the run come first.
inline std::string Compare(const Outcome& outcome, const std::vector<float>& want) {
  if (!outcome.report.clean()) return "findings: " + Findings(outcome.report);
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::bit_cast<uint32_t>(outcome.y[i]) != std::bit_cast<uint32_t>(want[i])) {
      return "at " + std::to_string(i) + ": got " + std::to_string(outcome.y[i]) + ", want " +
             std::to_string(want[i]);
    }
  }
  return "";
}

}  // namespace arithmetic
