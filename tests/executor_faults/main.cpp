// Runs one fault kernel, or its clean twin, under several schedules and prints the findings and a
// digest of the output. Usage: faults list | faults NAME defect|clean SEED...
#include <cstdio>
#include <cstring>
#include <string>

#include "../../kernels/executor/checked_launch.h"
#include "fault.h"

namespace {

uint64_t Digest(const std::vector<float>& values) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (float value : values) {
    hash = (hash ^ executor::BitsOf(value)) * 0x100000001b3ull;
  }
  return hash;
}

executor::Device DeviceOf(const faults::Fault& fault) {
  executor::Device device;
  device.name = fault.arch == 3510 ? "a made-up 3510" : "a made-up 2201";
  device.arch = fault.arch;
  device.vector_cores = fault.vector_cores;
  device.ub_bytes = fault.arch == 3510 ? 248 * 1024 : 184 * 1024 - 256;
  return device;
}

void Run(const faults::Fault& fault, bool defect, uint64_t seed) {
  using executor::BufferRole;
  const size_t elems = faults::kElems * static_cast<size_t>(fault.blocks);
  std::vector<float> x(elems);
  for (size_t i = 0; i < elems; ++i) x[i] = static_cast<float>(i % 97 + 1);
  std::vector<float> y(elems, -1.0f);
  std::vector<float> w(faults::kWorkspaceElems, -2.0f);
  executor::GlobalMemory memory;
  auto add = [&](const char* name, std::vector<float>& data, BufferRole role) {
    const executor::GmBuffer buffer{name, reinterpret_cast<uint8_t*>(data.data()),
                                    data.size() * sizeof(float), role, 0};
    return reinterpret_cast<GM_ADDR>(memory.Add(buffer));
  };
  const faults::Args args = {add("x", x, BufferRole::kInput), add("y", y, BufferRole::kOutput),
                             add("w", w, BufferRole::kWorkspace)};
  executor::Options options;
  options.seed = seed;
  options.max_instructions = 100000;
  const executor::Report report = executor::CheckedLaunch(
      [&] { fault.kernel(args, defect); }, fault.blocks, DeviceOf(fault), memory, options);
  std::printf("seed %llu digest %016llx completed %d\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(Digest(y)), report.completed ? 1 : 0);
  for (const executor::Finding& finding : report.findings) {
    std::printf("finding %s: %s\n", finding.check.c_str(), finding.text.c_str());
  }
}

int Usage() {
  std::fprintf(stderr, "usage: faults list | faults NAME defect|clean SEED...\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "list") {
    for (const faults::Fault& fault : faults::AllFaults()) {
      std::printf("%s\t%s\t%d", fault.name, fault.check, fault.changes_numbers ? 1 : 0);
      for (const std::string& text : fault.expected) std::printf("\t%s", text.c_str());
      std::printf("\n");
    }
    return 0;
  }
  if (argc < 4) return Usage();
  for (const faults::Fault& fault : faults::AllFaults()) {
    if (command != fault.name) continue;
    for (int i = 3; i < argc; ++i) {
      Run(fault, std::strcmp(argv[2], "defect") == 0, std::strtoull(argv[i], nullptr, 10));
    }
    return 0;
  }
  return Usage();
}
