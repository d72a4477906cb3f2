// The table of SoCs. Core counts, clocks and sizes are those of the CANN 8.1 platform_config files;
// see README.md beside this folder.
#include "platform.h"

namespace group_norm_grad {
namespace {

// 192 KiB less the 256 B that mixed launches reserve and the 8 KiB that some calls reserve unless a
// compiler flag says otherwise.
constexpr int64_t kUb2201 = 192 * 1024 - 256 - 8 * 1024;
// 256 KiB less the 8 KiB that the library and the compiler's spills reserve.
constexpr int64_t kUb3510 = 248 * 1024;
constexpr int64_t kMiB = 1 << 20;

// HBM: 1.8 TB/s is the roofline that the vendor's samples use for A2 and A3; the B4 parts carry
// half of the stacks (800 GB/s is the published figure). 950PR: 1.6 TB/s.
constexpr Platform kPlatforms[] = {
    {"Ascend910B1", 2201, 48, kUb2201, 1850, 192 * kMiB, 1800, 5200},
    {"Ascend910B2", 2201, 48, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910B2C", 2201, 48, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910B3", 2201, 40, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910B4", 2201, 40, kUb2201, 1500, 96 * kMiB, 800, 2600},
    {"Ascend910B4-1", 2201, 40, kUb2201, 1500, 168 * kMiB, 800, 2600},
    {"Ascend910_9391", 2201, 48, kUb2201, 1850, 192 * kMiB, 1800, 5200},
    {"Ascend910_9392", 2201, 48, kUb2201, 1850, 192 * kMiB, 1800, 5200},
    {"Ascend910_9381", 2201, 48, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910_9382", 2201, 48, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910_9372", 2201, 40, kUb2201, 1800, 192 * kMiB, 1800, 5200},
    {"Ascend910_9362", 2201, 40, kUb2201, 1500, 168 * kMiB, 1800, 5200},
    {"Ascend950", 3510, 64, kUb3510, 1650, 128 * kMiB, 1600, 5200},
};

// Boards of one family that the runtime names with a suffix.
constexpr std::string_view kFamily950[] = {"Ascend950", "Ascend910_95"};

}  // namespace

const Platform* FindPlatform(std::string_view soc) {
  const Platform* family_950 = nullptr;
  for (const Platform& platform : kPlatforms) {
    if (soc == platform.soc) return &platform;
    if (platform.arch == 3510) family_950 = &platform;
  }
  for (std::string_view family : kFamily950) {
    if (soc.substr(0, family.size()) == family) return family_950;
  }
  return nullptr;
}

std::vector<std::string_view> PlatformNames() {
  std::vector<std::string_view> names;
  for (const Platform& platform : kPlatforms) names.push_back(platform.soc);
  return names;
}

}  // namespace group_norm_grad
