// The CPU group norm as the operators call it. Arguments are already checked; no check and no
// registration belongs here.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

namespace group_norm_grad::cpu {

// The gradients of group norm; outputs that the mask drops are undefined tensors. Any strides.
// grad_input has input's suggested memory format; grad_weight and grad_bias have the weight's
// dtype, or with no weight the statistics', and shape (C).
std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_backward(
    const at::Tensor& grad_out, const at::Tensor& input, const at::Tensor& mean,
    const at::Tensor& rstd, const std::optional<at::Tensor>& weight, int64_t N, int64_t C,
    int64_t HxW, int64_t group, std::array<bool, 3> output_mask);

// output, mean, rstd; the statistics have shape (N, group), and are float32 for 16-bit input.
std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm_forward(
    const at::Tensor& input, const std::optional<at::Tensor>& weight,
    const std::optional<at::Tensor>& bias, int64_t N, int64_t C, int64_t HxW, int64_t group,
    double eps);

// "avx512", "avx2", "neon" or "default": the widest that this processor has, unless
// GROUP_NORM_GRAD_ISA names another.
const char* isa_in_use();

// What group_norm_backward (direction "backward") or group_norm_forward ("forward") would do here
// and now with such a problem, one "name=value" a field. dtype: "float32", "float16", "bfloat16" or
// "float64". Throws c10::Error on other names and on sizes below 1.
std::string describe_plan(const std::string& direction, const std::string& dtype,
                          bool channels_last, int64_t N, int64_t C, int64_t HxW, int64_t group);

}  // namespace group_norm_grad::cpu
