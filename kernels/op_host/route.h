// What runs on which product, by the name that the runtime gives it. Pure; knows no tensor and no
// device.
#pragma once

#include <string>
#include <string_view>

#include "kernels/op_host/platform.h"

namespace group_norm_grad {

enum class RouteKind : uint8_t {
  kKernel,       // Atlas A2, A3 and Ascend 950: our kernel, with a Platform
  kComposite,    // Atlas training series (dav-c100), for which there is no kernel
  kUnsupported,  // everything else
};

struct Route {
  RouteKind kind = RouteKind::kUnsupported;
  const Platform* platform = nullptr;  // of kKernel
};

// soc as aclrtGetSocName tells it; null reads as an unknown name.
Route FindRoute(const char* soc);

// For a product that is not supported: its name, and those that are.
std::string UnsupportedText(const char* soc);

}  // namespace group_norm_grad
