// The rules of aclnnGroupNormBackward's arguments, in the order in which its documentation gives
// them.
#include "arguments.h"

#include "acl_calls.h"
#include "status.h"

namespace group_norm_grad::op_api {
namespace {

constexpr size_t kMaxDims = 8;
constexpr std::array<const char*, 3> kOutputNames = {"gradInput", "gradGammaOut", "gradBetaOut"};

void Require(const CheckResult& result) {
  if (result) return;
  throw Error{result.refusal == Refusal::kNullArgument ? kParamNullptr : kParamInvalid,
              result.text};
}

void RequireNotNull(const char* name, const void* argument, const char* why = "") {
  if (argument == nullptr)
    throw Error{kParamNullptr, std::string("Expected ") + name + why + ", but got null"};
}

std::array<bool, 3> ReadMask(const aclBoolArray* array) {
  uint64_t size = 0;
  if (Calls().aclGetBoolArraySize(array, &size) != kSuccess)
    throw Error{kRuntimeError, "cannot read outputMask"};
  if (size != 3) {
    throw Error{kParamInvalid,
                "Expected outputMask to have 3 values, but got " + std::to_string(size)};
  }
  const bool* values = Calls().BoolArrayData(array);
  return {values[0], values[1], values[2]};
}

std::string TypeText(aclDataType dtype) {
  switch (dtype) {
    case ACL_FLOAT:
      return "float32";
    case ACL_FLOAT16:
      return "float16";
    case ACL_BF16:
      return "bfloat16";
    default:
      return "aclDataType " + std::to_string(static_cast<int>(dtype));
  }
}

DType Supported(const TensorView& view) {
  switch (view.dtype) {
    case ACL_FLOAT:
      return DType::kFloat32;
    case ACL_FLOAT16:
      return DType::kFloat16;
    case ACL_BF16:
      return DType::kBFloat16;
    default:
      throw Error{kParamInvalid, std::string("Expected ") + view.name +
                                     " to be float32, float16 or bfloat16, but got " +
                                     TypeText(view.dtype)};
  }
}

void RequireSameDType(const TensorView& view, const TensorView& like) {
  if (view.dtype == like.dtype) return;
  throw Error{kParamInvalid, std::string("Expected ") + view.name + " to have the dtype of " +
                                 like.name + ", " + TypeText(like.dtype) + ", but got " +
                                 TypeText(view.dtype)};
}

void CheckDTypes(Arguments* arguments) {
  Problem& problem = arguments->problem;
  problem.dtype = Supported(arguments->grad_out);
  RequireSameDType(arguments->input, arguments->grad_out);
  problem.stat_dtype = Supported(arguments->mean);
  Require(group_norm_grad::CheckDTypes(problem.dtype, arguments->mean.name, problem.stat_dtype));
  RequireSameDType(arguments->rstd, arguments->mean);
  problem.weight_dtype = problem.stat_dtype;
  if (arguments->gamma) RequireSameDType(*arguments->gamma, arguments->mean);
  for (int i = 0; i < 3; ++i) {
    if (!arguments->outputs[i]) continue;
    RequireSameDType(*arguments->outputs[i],
                     i == kGradInput ? arguments->grad_out : arguments->mean);
  }
}

void CheckLayout(const TensorView& view) {
  if (view.sizes.size() > kMaxDims) {
    throw Error{kParamInvalid, std::string("Expected ") + view.name +
                                   " to have 0 to 8 dimensions, but got " +
                                   std::to_string(view.sizes.size())};
  }
  if (view.format != ACL_FORMAT_ND && view.format != ACL_FORMAT_NCL &&
      view.format != ACL_FORMAT_NCHW && view.format != ACL_FORMAT_NCDHW) {
    throw Error{kParamInvalid, std::string("Expected ") + view.name +
                                   " to have format ND, NCL, NCHW or NCDHW, but got aclFormat " +
                                   std::to_string(static_cast<int>(view.format))};
  }
}

void RequireShape(const TensorView& view, const std::vector<int64_t>& sizes, const char* whose) {
  if (view.sizes == sizes) return;
  throw Error{kParamInvalid, std::string("Expected ") + view.name + " to have the shape " +
                                 ShapeText(sizes) + whose + ", but got " + ShapeText(view.sizes)};
}

void CheckShapes(const Arguments& arguments) {
  const Problem& problem = arguments.problem;
  const int64_t numel = problem.N * problem.C * problem.S;
  for (const TensorView* view : {&arguments.grad_out, &arguments.input}) {
    CheckLayout(*view);
    Require(CheckNumel(view->name, view->Numel(), numel, "N*C*HxW"));
  }
  const int64_t groups = CheckedMul(problem.N, problem.G);
  for (const TensorView* view : {&arguments.mean, &arguments.rstd}) {
    CheckLayout(*view);
    Require(CheckNumel(view->name, view->Numel(), groups, "N*group"));
  }
  if (arguments.gamma) {
    CheckLayout(*arguments.gamma);
    Require(CheckNumel(arguments.gamma->name, arguments.gamma->Numel(), problem.C, "C"));
  }
  for (int i = 0; i < 3; ++i) {
    if (!arguments.outputs[i]) continue;
    const TensorView& output = *arguments.outputs[i];
    CheckLayout(output);
    if (i == kGradInput) {
      RequireShape(output, arguments.input.sizes, " of input");
    } else if (arguments.gamma) {
      RequireShape(output, arguments.gamma->sizes, " of gamma");
    } else {
      RequireShape(output, {problem.C}, ", (C) without gamma");
    }
  }
}

void CheckAddress(const TensorView& view) {
  if (view.storage == nullptr && view.Numel() > 0) {
    throw Error{kParamNullptr, std::string("Expected ") + view.name +
                                   " to have device memory, but its address is null"};
  }
}

}  // namespace

Arguments Check(const RawArguments& raw) {
  RequireNotNull("gradOut", raw.grad_out);
  RequireNotNull("input", raw.input);
  RequireNotNull("mean", raw.mean);
  RequireNotNull("rstd", raw.rstd);
  RequireNotNull("outputMask", raw.output_mask);
  Arguments arguments;
  arguments.problem.output_mask = ReadMask(raw.output_mask);
  for (int i = 0; i < 3; ++i) {
    if (!arguments.problem.output_mask[i]) continue;
    RequireNotNull(kOutputNames[i], raw.outputs[i], ", which outputMask asks for");
    arguments.outputs[i] = Read(kOutputNames[i], raw.outputs[i]);
  }
  arguments.grad_out = Read("gradOut", raw.grad_out);
  arguments.input = Read("input", raw.input);
  arguments.mean = Read("mean", raw.mean);
  arguments.rstd = Read("rstd", raw.rstd);
  if (raw.gamma != nullptr) arguments.gamma = Read("gamma", raw.gamma);

  Problem& problem = arguments.problem;
  problem.has_weight = arguments.gamma.has_value();
  CheckDTypes(&arguments);
  Require(CheckAttributes(raw.N, raw.C, raw.HxW, raw.group));
  problem.N = raw.N;
  problem.C = raw.C;
  problem.S = raw.HxW;
  problem.G = raw.group;
  CheckShapes(arguments);

  for (const TensorView* view :
       {&arguments.grad_out, &arguments.input, &arguments.mean, &arguments.rstd}) {
    CheckAddress(*view);
  }
  if (arguments.gamma) CheckAddress(*arguments.gamma);
  for (const auto& output : arguments.outputs) {
    if (output) CheckAddress(*output);
  }
  return arguments;
}

}  // namespace group_norm_grad::op_api
