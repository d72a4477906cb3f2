// The search for the kernel library: libgroup_norm_grad_kernel_<arch>.so in the directory that
// GROUP_NORM_GRAD_KERNEL_DIR names, or else beside the library that this code is linked into.
#include "kernels/op_host/launch.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

namespace group_norm_grad {
namespace {

struct KernelLibrary {
  decltype(&GroupNormGradKernelLaunch) launch = nullptr;
  std::string why_not;
};

std::string OwnDirectory() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&FindKernelLibrary), &info) == 0 ||
      info.dli_fname == nullptr)
    return ".";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

KernelLibrary Load(int32_t arch) {
  const char* chosen = std::getenv("GROUP_NORM_GRAD_KERNEL_DIR");
  const std::string directory = chosen && *chosen ? chosen : OwnDirectory();
  const std::string path = directory + "/libgroup_norm_grad_kernel_" + std::to_string(arch) + ".so";
  KernelLibrary library;
  void* const handle =
      dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: work may be in flight
  if (handle == nullptr) {
    const char* reason = dlerror();
    library.why_not =
        std::string("the device binary of the group-norm-gradient kernel cannot be loaded (") +
        (reason ? reason : path) +
        "); with the CANN toolkit, build it from the source tree by `cmake -S kernels -B "
        "build/device -DGROUP_NORM_GRAD_DEVICE=ON -DCMAKE_ASC_ARCHITECTURES=dav-" +
        std::to_string(arch) + " -DCMAKE_INSTALL_PREFIX=" + directory +
        " && cmake --build build/device --target install`, or install group_norm_grad again with "
        "ASCEND_HOME_PATH set";
    return library;
  }
  const auto id =
      reinterpret_cast<decltype(&GroupNormGradKernelId)>(dlsym(handle, "GroupNormGradKernelId"));
  library.launch = reinterpret_cast<decltype(&GroupNormGradKernelLaunch)>(
      dlsym(handle, "GroupNormGradKernelLaunch"));
  if (id == nullptr || library.launch == nullptr ||
      std::string(id()) != GROUP_NORM_GRAD_KERNEL_ID) {
    library.launch = nullptr;
    library.why_not = path + " is not of this version of group_norm_grad; build it again";
  }
  return library;
}

// Each architecture is looked for once; a failure is remembered, because dlopen is slow and the
// caller may retry in a loop.
const KernelLibrary& LibraryOf(int32_t arch) {
  static std::mutex mutex;
  static std::map<int32_t, KernelLibrary>& libraries = *new std::map<int32_t, KernelLibrary>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = libraries.find(arch);
  return found != libraries.end() ? found->second
                                  : libraries.emplace(arch, Load(arch)).first->second;
}

}  // namespace

LaunchStatus FindKernelLibrary(int32_t arch) {
  const KernelLibrary& library = LibraryOf(arch);
  if (library.launch != nullptr) return {};
  return {LaunchResult::kNoKernelLibrary, library.why_not};
}

LaunchStatus Launch(const GroupNormGradLaunch& launch, void* stream) {
  LaunchStatus status = FindKernelLibrary(launch.platform->arch);
  if (!status || launch.plan->blocks == 0) return status;
  const int32_t error = LibraryOf(launch.platform->arch).launch(&launch, stream);
  if (error == 0) return {};
  return {LaunchResult::kRuntimeError,
          "the runtime refused to launch the kernel, error " + std::to_string(error)};
}

}  // namespace group_norm_grad
