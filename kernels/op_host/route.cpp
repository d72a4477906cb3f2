// The table of products.
#include "kernels/op_host/route.h"

#include <array>

namespace group_norm_grad {
namespace {

// "Ascend910B" without a digit, and with "Pro" or "Premium", are parts of the first generation;
// "Ascend910B1" is not.
constexpr std::array<std::string_view, 5> kTrainingSeries = {
    "Ascend910A", "Ascend910B", "Ascend910ProA", "Ascend910ProB", "Ascend910PremiumA"};

// A member of a family that the platform table does not list runs with the plan of the family's
// smallest one: on more cores than planned for, the kernel is right and merely leaves some idle.
struct Family {
  std::string_view prefix;
  std::string_view smallest;
};
constexpr std::array<Family, 2> kFamilies = {
    {{"Ascend910B", "Ascend910B4"}, {"Ascend910_93", "Ascend910_9362"}}};

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

Route FindRoute(const char* soc) {
  const std::string_view name = soc ? soc : "";
  for (const std::string_view training : kTrainingSeries) {
    if (name == training) return {RouteKind::kComposite, nullptr};
  }
  if (const Platform* platform = FindPlatform(name)) return {RouteKind::kKernel, platform};
  for (const Family& family : kFamilies) {
    if (StartsWith(name, family.prefix)) return {RouteKind::kKernel, FindPlatform(family.smallest)};
  }
  return {};
}

std::string UnsupportedText(const char* soc) {
  std::string text = std::string("group_norm_grad has no kernel for the NPU '") +
                     (soc ? soc : "unknown") +
                     "'; it runs on Ascend910B1 to B4, Ascend910_93* and Ascend950*, and with "
                     "composed operators on";
  for (const std::string_view training : kTrainingSeries) text.append(" ").append(training);
  return text;
}

}  // namespace group_norm_grad
