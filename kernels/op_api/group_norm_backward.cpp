// The two phases of aclnnGroupNormBackward. Rules of arguments are in arguments.cpp, the kernel's
// plan is in op_host/.
#include "aclnnop/aclnn_group_norm_backward.h"

#include <algorithm>
#include <exception>

#include "acl_calls.h"
#include "executor.h"
#include "kernels/op_host/launch.h"
#include "kernels/op_host/route.h"
#include "status.h"

namespace group_norm_grad::op_api {
namespace {

constexpr uint64_t kAlignBytes =
    512;  // of parts of the workspace, as the runtime aligns its allocations

uint64_t Align(uint64_t bytes) { return (bytes + kAlignBytes - 1) / kAlignBytes * kAlignBytes; }

// Nothing leaves a C function but its status.
template <typename Body>
aclnnStatus Guard(const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    return Report(error);
  } catch (const std::exception& error) {
    return Report({kInner, error.what()});
  }
}

Route ThisRoute() {
  if (const char* missing = Missing())
    throw Error{kRuntimeError, std::string(missing) + " was not found"};
  return FindRoute(Calls().aclrtGetSocName());
}

void Require(const LaunchStatus& status) {
  if (status) return;
  throw Error{status.result == LaunchResult::kNoKernelLibrary ? kFindKernel : kRuntimeError,
              status.text};
}

void AddStandIn(const TensorView& view, bool is_input, Work* work) {
  if (view.IsContiguous()) return;
  (is_input ? work->inputs : work->outputs).push_back({view, work->workspace_bytes});
  work->workspace_bytes += Align(static_cast<uint64_t>(view.Numel() * view.ElementBytes()));
  work->copy_bytes = std::max(work->copy_bytes, CopyWorkspaceBytes(view, is_input));
}

std::shared_ptr<const Work> Prepare(Arguments checked, const Platform* platform) {
  auto work = std::make_shared<Work>();
  work->arguments = std::move(checked);
  work->platform = platform;
  work->plan = MakePlan(work->arguments.problem, *platform);
  work->workspace_bytes = Align(static_cast<uint64_t>(work->plan.workspace_bytes));
  const Arguments& arguments = work->arguments;
  for (const TensorView* view :
       {&arguments.grad_out, &arguments.input, &arguments.mean, &arguments.rstd}) {
    AddStandIn(*view, true, work.get());
  }
  if (arguments.gamma) AddStandIn(*arguments.gamma, true, work.get());
  for (const auto& output : arguments.outputs) {
    if (output) AddStandIn(*output, false, work.get());
  }
  work->copy_offset_bytes = work->workspace_bytes;
  work->workspace_bytes += work->copy_bytes;
  return work;
}

// The address to give to the kernel: the tensor's own, or its stand-in's.
void* AddressOf(const TensorView& view, const std::vector<StandIn>& stand_ins, char* workspace) {
  for (const StandIn& stand_in : stand_ins) {
    if (stand_in.tensor.name == view.name) return workspace + stand_in.offset_bytes;
  }
  return view.Data();
}

void Run(const Work& work, char* workspace, aclrtStream stream) {
  const Arguments& arguments = work.arguments;
  char* const copy_workspace = workspace + work.copy_offset_bytes;
  for (const StandIn& input : work.inputs) {
    Gather(input.tensor, workspace + input.offset_bytes, copy_workspace, work.copy_bytes, stream);
  }
  const auto input = [&](const TensorView& view) {
    return AddressOf(view, work.inputs, workspace);
  };
  const auto output = [&](Output which) {
    const auto& view = arguments.outputs[which];
    return view ? AddressOf(*view, work.outputs, workspace) : nullptr;
  };
  GroupNormGradLaunch launch = {};
  launch.problem = &arguments.problem;
  launch.platform = work.platform;
  launch.plan = &work.plan;
  launch.grad_out = input(arguments.grad_out);
  launch.input = input(arguments.input);
  launch.mean = input(arguments.mean);
  launch.rstd = input(arguments.rstd);
  launch.weight = arguments.gamma ? input(*arguments.gamma) : nullptr;
  launch.grad_input = output(kGradInput);
  launch.grad_weight = output(kGradWeight);
  launch.grad_bias = output(kGradBias);
  launch.workspace = workspace;
  Require(Launch(launch, stream));
  for (const StandIn& result : work.outputs) {
    Scatter(result.tensor, workspace + result.offset_bytes, copy_workspace, work.copy_bytes,
            stream);
  }
}

}  // namespace
}  // namespace group_norm_grad::op_api

using namespace group_norm_grad;          // NOLINT: the calls below are this file's purpose
using namespace group_norm_grad::op_api;  // NOLINT

extern "C" {

aclnnStatus aclnnGroupNormBackwardGetWorkspaceSize(
    const aclTensor* gradOut, const aclTensor* input, const aclTensor* mean, const aclTensor* rstd,
    const aclTensor* gamma, int64_t N, int64_t C, int64_t HxW, int64_t group,
    const aclBoolArray* outputMask, aclTensor* gradInput, aclTensor* gradGammaOut,
    aclTensor* gradBetaOut, uint64_t* workspaceSize, aclOpExecutor** executor) {
  return Guard([&] {
    const Route route = ThisRoute();
    if (route.kind == RouteKind::kComposite && Calls().BuiltInGetWorkspaceSize != nullptr) {
      return Calls().BuiltInGetWorkspaceSize(gradOut, input, mean, rstd, gamma, N, C, HxW, group,
                                             outputMask, gradInput, gradGammaOut, gradBetaOut,
                                             workspaceSize, executor);
    }
    if (workspaceSize == nullptr || executor == nullptr) {
      throw Error{kParamNullptr, std::string("Expected ") +
                                     (executor ? "workspaceSize" : "executor") + ", but got null"};
    }
    Arguments arguments = Check({gradOut,
                                 input,
                                 mean,
                                 rstd,
                                 gamma,
                                 N,
                                 C,
                                 HxW,
                                 group,
                                 outputMask,
                                 {gradInput, gradGammaOut, gradBetaOut}});
    if (route.kind == RouteKind::kComposite) {
      throw Error{kFindKernel, std::string("on ") + Calls().aclrtGetSocName() +
                                   " CANN's own aclnnGroupNormBackward runs, which neither "
                                   "libopapi.so nor libopapi_nn.so has"};
    }
    if (route.kind == RouteKind::kUnsupported)
      throw Error{kParamInvalid, UnsupportedText(Calls().aclrtGetSocName())};
    Require(FindKernelLibrary(route.platform->arch));
    const auto work = Prepare(std::move(arguments), route.platform);
    *executor = Publish(work);
    *workspaceSize = work->workspace_bytes;
    return kSuccess;
  });
}

aclnnStatus aclnnGroupNormBackward(void* workspace, uint64_t workspaceSize, aclOpExecutor* executor,
                                   const aclrtStream stream) {
  return Guard([&] {
    if (executor == nullptr) throw Error{kParamNullptr, "Expected executor, but got null"};
    const std::shared_ptr<const Work> work = Find(executor);
    if (work == nullptr) {
      if (ThisRoute().kind == RouteKind::kComposite && Calls().BuiltIn != nullptr) {
        return Calls().BuiltIn(workspace, workspaceSize, executor, stream);
      }
      throw Error{kParamInvalid,
                  "the executor is not one of phase 1, or phase 2 has used it already"};
    }
    if (workspaceSize < work->workspace_bytes) {
      throw Error{kParamInvalid,
                  "Expected a workspace of " + std::to_string(work->workspace_bytes) +
                      " bytes, as phase 1 told, but got " + std::to_string(workspaceSize)};
    }
    if (workspace == nullptr && work->workspace_bytes > 0) {
      throw Error{kParamNullptr, "Expected a workspace of " +
                                     std::to_string(work->workspace_bytes) +
                                     " bytes, but its address is null"};
    }
    if (!Consume(executor))
      throw Error{kParamInvalid, "phase 2 of the executor runs on another thread already"};
    Run(*work, static_cast<char*>(workspace), stream);
    return kSuccess;
  });
}

const char* aclnnGroupNormBackwardGetLastError(void) { return LastErrorText(); }
}
