// The problem of one group-norm-gradient call, and the argument checks that need no tensor library.
// Shared by csrc/ (torch), op_host/ (the plan) and op_api/ (the C API). Nothing of torch or CANN
// may be included here.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace group_norm_grad {

enum class DType : uint8_t { kFloat32, kFloat16, kBFloat16, kFloat64 };

constexpr int64_t SizeOf(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

constexpr const char* Name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat64:
      return "float64";
  }
  return "?";
}

constexpr bool Is16Bit(DType dtype) { return SizeOf(dtype) == 2; }

enum Output : int { kGradInput = 0, kGradWeight = 1, kGradBias = 2 };

// grad_out, input, grad_input: (N, C, S); mean, rstd: (N, G); weight, grad_weight, grad_bias: (C).
struct Problem {
  int64_t N = 0;                         // batch
  int64_t C = 0;                         // channels
  int64_t S = 1;                         // product of the trailing dimensions (aclnn calls it HxW)
  int64_t G = 1;                         // groups
  DType dtype = DType::kFloat32;         // grad_out, input, grad_input
  DType stat_dtype = DType::kFloat32;    // mean, rstd
  DType weight_dtype = DType::kFloat32;  // weight, grad_weight, grad_bias
  bool has_weight = true;
  std::array<bool, 3> output_mask = {true, true, true};  // indexed by Output

  int64_t D() const { return C / G; }  // channels of a group
};

// The two kinds of refusal that a caller can get; each front end maps them to its own (an
// exception, a status code).
enum class Refusal : uint8_t { kNone, kNullArgument, kInvalidArgument };

struct CheckResult {
  Refusal refusal = Refusal::kNone;
  std::string text;  // the reason with the values got; empty when accepted
  explicit operator bool() const { return refusal == Refusal::kNone; }
};

inline CheckResult Invalid(std::string text) {
  return {Refusal::kInvalidArgument, std::move(text)};
}

template <typename... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// The product of two counts, or -1 when it does not fit in 64 bits. Both must be >= 0.
constexpr int64_t CheckedMul(int64_t a, int64_t b) {
  return a != 0 && b > std::numeric_limits<int64_t>::max() / a ? -1 : a * b;
}

// N, C, HxW >= 0, group > 0, C divisible by group, N*C*HxW within 64 bits. Wording follows ATen's
// where ATen has it. Int is int64_t, or a symbolic integer that has its operators (torch's
// tracing).
template <typename Int>
CheckResult CheckAttributes(const Int& N, const Int& C, const Int& HxW, int64_t group) {
  if (group <= 0) {
    return Invalid("Expected num groups to be greater than 0, got " + std::to_string(group));
  }
  if (N < 0 || C < 0 || HxW < 0) {
    return Invalid(
        Text("Expected N, C and HxW to be non-negative, got N=", N, ", C=", C, ", HxW=", HxW));
  }
  if (C % group != 0) {
    return Invalid(
        Text("Expected number of channels in input to be divisible by num_groups, but got C=", C,
             " and num_groups=", group));
  }
  if constexpr (std::is_integral_v<Int>) {
    const int64_t NC = CheckedMul(N, C);
    if (NC < 0 || CheckedMul(NC, HxW) < 0) {
      return Invalid(
          Text("Expected N*C*HxW to fit in 64 bits, got N=", N, ", C=", C, ", HxW=", HxW));
    }
  }
  return {};
}

// An argument's element count against the one that N, C, HxW and group ask for; formula names it,
// as "N*C*HxW".
template <typename Int>
CheckResult CheckNumel(const char* argument, const Int& got, const Int& want, const char* formula) {
  if (got == want) return {};
  return Invalid(
      Text("Expected ", argument, " to have ", formula, "=", want, " elements, but got ", got));
}

// Which dtypes go together: mean, rstd and weight are of grad_out's dtype, or float32 where that
// one has 16 bits.
inline CheckResult CheckDTypes(DType dtype, const char* argument, DType got) {
  if (got == dtype || (Is16Bit(dtype) && got == DType::kFloat32)) return {};
  return Invalid(Text("Expected ", argument, " to have dtype ", Name(dtype),
                      Is16Bit(dtype) ? " or float32" : "", " like input, but got ", Name(got)));
}

}  // namespace group_norm_grad
