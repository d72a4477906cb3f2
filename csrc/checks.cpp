#include "csrc/checks.h"

#include <type_traits>

namespace group_norm_grad {
namespace {

using at::Tensor;

constexpr const char* kForward = "group_norm_forward";
constexpr const char* kBackward = "group_norm_backward";

template <typename Int>
auto sizes_of(const Tensor& tensor) {
  if constexpr (std::is_same_v<Int, int64_t>) {
    return tensor.sizes();
  } else {
    return tensor.sym_sizes();
  }
}

template <typename Int>
Int numel_of(const Tensor& tensor) {
  if constexpr (std::is_same_v<Int, int64_t>) {
    return tensor.numel();
  } else {
    return tensor.sym_numel();
  }
}

void require(const CheckResult& result) { TORCH_CHECK(result, result.text); }

template <typename Int>
void check_counts(const Tensor& input, const Int& N, const Int& C, const Int& HxW, int64_t group) {
  require(CheckAttributes(N, C, HxW, group));
  require(CheckNumel("input", numel_of<Int>(input), Int(N * C * HxW), "N*C*HxW"));
  TORCH_CHECK(input.dim() >= 2 && sizes_of<Int>(input)[0] == N && sizes_of<Int>(input)[1] == C,
              "Expected input to have shape (N, C, ...) with N=", N, " and C=", C,
              ", but got input of shape ", sizes_of<Int>(input));
}

void check_device(const Tensor& input, const char* name, const Tensor& other) {
  TORCH_CHECK(other.device() == input.device(),
              "Expected all tensors to be on the same device, but found at least two devices, ",
              input.device(), " (input) and ", other.device(), " (", name, ")!");
}

// weight or bias: a vector of C values on input's device.
template <typename Int>
void check_vector(const Tensor& input, const char* name, const Tensor& vector, const Int& C) {
  TORCH_CHECK(vector.dim() == 1 && numel_of<Int>(vector) == C, "Expected ", name,
              " to be a vector of size equal to the number of channels in input, but got ", name,
              " of shape ", sizes_of<Int>(vector), " and input of shape ", sizes_of<Int>(input));
  check_device(input, name, vector);
}

// A parameter or a statistic has input's dtype, or float32 beside a 16-bit input.
void check_dtype(const char* op, const Tensor& input, const char* name, const Tensor& other) {
  if (other.scalar_type() == input.scalar_type()) return;
  TORCH_CHECK(at::isFloatingType(other.scalar_type()), "Expected ", name,
              " to have a floating dtype like input's ", input.scalar_type(), ", but got ",
              other.scalar_type());
  require(CheckDTypes(checked_dtype(op, input.scalar_type()), name,
                      checked_dtype(op, other.scalar_type())));
}

template <typename Int>
void check_statistics(const Tensor& input, const char* name, const Tensor& statistics, const Int& N,
                      int64_t group) {
  require(CheckNumel(name, numel_of<Int>(statistics), Int(N * group), "N*group"));
  check_device(input, name, statistics);
  check_dtype(kBackward, input, name, statistics);
}

}  // namespace

DType checked_dtype(const char* op, at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    case at::kHalf:
      return DType::kFloat16;
    case at::kBFloat16:
      return DType::kBFloat16;
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "\"", op, "\" not implemented for '", dtype,
                                  "': expected Float, Double, Half or BFloat16");
  }
}

void check_group_norm(const Tensor& input, int64_t num_groups) {
  TORCH_CHECK(input.dim() >= 2, "Expected at least 2 dimensions for input tensor but received ",
              input.dim());
  TORCH_CHECK(num_groups > 0, "Expected num groups to be greater than 0, got ", num_groups);
  const auto sizes = input.sym_sizes();
  TORCH_CHECK(
      sizes[1] % num_groups == 0,
      "Expected number of channels in input to be divisible by num_groups, but got input of "
      "shape ",
      sizes, " and num_groups=", num_groups);
  // One value a group has no variance; the condition and its wording are those of F.group_norm.
  c10::SymInt values = sizes[0] * sizes[1] / num_groups;
  for (const auto& size : sizes.slice(2)) values = values * size;
  TORCH_CHECK_VALUE(values != 1,
                    "Expected more than 1 value per channel when training, got input size ", sizes,
                    " and num_groups=", num_groups);
}

template <typename Int>
void check_forward(const Tensor& input, const std::optional<Tensor>& weight,
                   const std::optional<Tensor>& bias, const Int& N, const Int& C, const Int& HxW,
                   int64_t group) {
  checked_dtype(kForward, input.scalar_type());
  check_counts(input, N, C, HxW, group);
  if (has_value(weight)) {
    check_vector(input, "weight", *weight, C);
    check_dtype(kForward, input, "weight", *weight);
  }
  if (has_value(bias)) {
    check_vector(input, "bias", *bias, C);
    check_dtype(kForward, input, "bias", *bias);
  }
  if (has_value(weight) && has_value(bias)) {
    TORCH_CHECK(weight->scalar_type() == bias->scalar_type(),
                "Expected weight and bias to have the same dtype, but got weight of ",
                weight->scalar_type(), " and bias of ", bias->scalar_type());
  }
}

template <typename Int>
void check_backward(const Tensor& grad_out, const Tensor& input, const Tensor& mean,
                    const Tensor& rstd, const std::optional<Tensor>& weight, const Int& N,
                    const Int& C, const Int& HxW, int64_t group) {
  checked_dtype(kBackward, input.scalar_type());
  check_counts(input, N, C, HxW, group);
  TORCH_CHECK(sizes_of<Int>(grad_out) == sizes_of<Int>(input),
              "Expected grad_out to have the shape of input, but got grad_out of shape ",
              sizes_of<Int>(grad_out), " and input of shape ", sizes_of<Int>(input));
  TORCH_CHECK(grad_out.scalar_type() == input.scalar_type(),
              "Expected scalar types of grad_out and input to be the same, but got ",
              grad_out.scalar_type(), " and ", input.scalar_type());
  check_device(input, "grad_out", grad_out);
  check_statistics(input, "mean", mean, N, group);
  check_statistics(input, "rstd", rstd, N, group);
  TORCH_CHECK(mean.scalar_type() == rstd.scalar_type(),
              "Expected mean and rstd to have the same dtype, but got mean of ", mean.scalar_type(),
              " and rstd of ", rstd.scalar_type());
  if (has_value(weight)) {
    check_vector(input, "weight", *weight, C);
    check_dtype(kBackward, input, "weight", *weight);
  }
}

template void check_forward<int64_t>(const Tensor&, const std::optional<Tensor>&,
                                     const std::optional<Tensor>&, const int64_t&, const int64_t&,
                                     const int64_t&, int64_t);
template void check_forward<c10::SymInt>(const Tensor&, const std::optional<Tensor>&,
                                         const std::optional<Tensor>&, const c10::SymInt&,
                                         const c10::SymInt&, const c10::SymInt&, int64_t);
template void check_backward<int64_t>(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                      const std::optional<Tensor>&, const int64_t&, const int64_t&,
                                      const int64_t&, int64_t);
template void check_backward<c10::SymInt>(const Tensor&, const Tensor&, const Tensor&,
                                          const Tensor&, const std::optional<Tensor>&,
                                          const c10::SymInt&, const c10::SymInt&,
                                          const c10::SymInt&, int64_t);

}  // namespace group_norm_grad
