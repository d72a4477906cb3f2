#include "csrc/npu/loader.h"

#include <c10/core/DeviceType.h>
#include <dlfcn.h>
#include <torch/library.h>
#include <torch/version.h>
#include <unistd.h>

#include <string>

#include "csrc/npu/kernels.h"

namespace group_norm_grad::npu {
namespace {

constexpr const char* kBuildHint =
    "install group_norm_grad again, with torch_npu installed, by `pip install --no-build-isolation "
    "--force-reinstall --no-deps group_norm_grad`";

// Of this extension, with a slash at the end.
std::string own_directory() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&own_directory), &info) == 0) return "./";
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

std::string library_path() { return own_directory() + "opp/op_api/lib/libgroup_norm_grad_npu.so"; }

struct Loaded {
  const Kernels* kernels = nullptr;
  std::string why_not;
};

Loaded load() {
  const std::string path = library_path();
  if (access(path.c_str(), F_OK) != 0) {
    return {nullptr,
            std::string("this build of group_norm_grad has no NPU library; ") + kBuildHint};
  }
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return {nullptr,
            std::string("the NPU library of group_norm_grad cannot be loaded: ") + dlerror()};
  }
  const auto get = reinterpret_cast<const Kernels* (*)()>(dlsym(handle, kKernelsSymbol));
  const Kernels* kernels = get ? get() : nullptr;
  if (kernels == nullptr || std::string(kernels->torch_version) != TORCH_VERSION) {
    return {nullptr, std::string("the NPU library of group_norm_grad was built with torch ") +
                         (kernels ? kernels->torch_version : "unknown") +
                         " and the extension with torch " + TORCH_VERSION + "; " + kBuildHint};
  }
  return {kernels, ""};
}

const Loaded& loaded() {
  static const Loaded result = load();
  return result;
}

const Kernels& kernels() {
  TORCH_CHECK_NOT_IMPLEMENTED(is_available(), "group_norm_grad has no kernel for the device type '",
                              c10::get_privateuse1_backend(), "'");
  TORCH_CHECK(loaded().kernels, loaded().why_not);
  return *loaded().kernels;
}

Tensors3 forward(const Tensor& input, const std::optional<Tensor>& weight,
                 const std::optional<Tensor>& bias, int64_t N, int64_t C, int64_t HxW,
                 int64_t group, double eps) {
  return kernels().forward(input, weight, bias, N, C, HxW, group, eps);
}

}  // namespace

bool is_available() {
  return c10::is_privateuse1_backend_registered() && c10::get_privateuse1_backend() == "npu";
}

Tensors3 backward(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                  const Tensor& rstd, const std::optional<Tensor>& weight, int64_t N, int64_t C,
                  int64_t HxW, int64_t group, OutputMask output_mask) {
  return kernels().backward(grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask);
}

std::string describe() {
  if (access(library_path().c_str(), F_OK) != 0) return "not built";
  if (!is_available()) return "built; loaded at the first npu tensor";
  if (loaded().kernels == nullptr) return loaded().why_not;
  return loaded().kernels->describe();
}

std::string opp_path() {
  const std::string path = own_directory() + "opp";
  return access((path + "/op_api/lib/libcust_opapi.so").c_str(), F_OK) == 0 ? path : "";
}

TORCH_LIBRARY_IMPL(group_norm_grad, PrivateUse1, m) {
  m.impl("group_norm_forward", TORCH_FN(forward));
  m.impl("group_norm_backward", TORCH_FN(backward));
}

}  // namespace group_norm_grad::npu
