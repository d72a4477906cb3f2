// The worked example of aclnnGroupNormBackward's documentation as a user would write it: only the
// public headers, and nothing of the loopback runtime. Prints the three gradients.
#include <acl/acl.h>
#include <aclnnop/aclnn_group_norm_backward.h>

#include <cstdio>
#include <vector>

#define CHECK(call)                                                                              \
  do {                                                                                           \
    const int status_ = (call);                                                                  \
    if (status_ != 0) {                                                                          \
      std::printf("%s returned %d: %s\n", #call, status_, aclnnGroupNormBackwardGetLastError()); \
      return 1;                                                                                  \
    }                                                                                            \
  } while (0)

struct DeviceTensor {
  void* data = nullptr;
  aclTensor* tensor = nullptr;
  size_t elements = 0;
};

int Make(const std::vector<float>& values, const std::vector<int64_t>& dims, DeviceTensor* out) {
  const size_t bytes = values.size() * sizeof(float);
  CHECK(aclrtMalloc(&out->data, bytes, ACL_MEM_MALLOC_HUGE_FIRST));
  CHECK(aclrtMemcpy(out->data, bytes, values.data(), bytes, ACL_MEMCPY_HOST_TO_DEVICE));
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * dims[i];
  out->tensor = aclCreateTensor(dims.data(), dims.size(), ACL_FLOAT, strides.data(), 0,
                                ACL_FORMAT_ND, dims.data(), dims.size(), out->data);
  out->elements = values.size();
  return out->tensor == nullptr;
}

int Print(const char* name, const DeviceTensor& tensor) {
  std::vector<float> host(tensor.elements);
  const size_t bytes = host.size() * sizeof(float);
  CHECK(aclrtMemcpy(host.data(), bytes, tensor.data, bytes, ACL_MEMCPY_DEVICE_TO_HOST));
  std::printf("%s", name);
  for (const float value : host) std::printf(" %.9g", value);
  std::printf("\n");
  return 0;
}

int main() {
  CHECK(aclInit(nullptr));
  CHECK(aclrtSetDevice(0));
  aclrtStream stream;
  CHECK(aclrtCreateStream(&stream));

  std::vector<float> ramp(24);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i + 1);
  const std::vector<int64_t> shape = {2, 3, 4}, groups = {2, 1}, channels = {3};
  DeviceTensor grad_out, input, mean, rstd, gamma, grad_input, grad_gamma, grad_beta;
  if (Make(ramp, shape, &grad_out) || Make(ramp, shape, &input) ||
      Make({6.5f, 18.5f}, groups, &mean) || Make({0.2896827f, 0.2896827f}, groups, &rstd) ||
      Make({1, 1, 1}, channels, &gamma) || Make(std::vector<float>(24), shape, &grad_input) ||
      Make({0, 0, 0}, channels, &grad_gamma) || Make({0, 0, 0}, channels, &grad_beta)) {
    return 1;
  }
  const bool mask_values[3] = {true, true, true};
  aclBoolArray* mask = aclCreateBoolArray(mask_values, 3);

  uint64_t workspace_bytes = 0;
  aclOpExecutor* executor = nullptr;
  CHECK(aclnnGroupNormBackwardGetWorkspaceSize(
      grad_out.tensor, input.tensor, mean.tensor, rstd.tensor, gamma.tensor, 2, 3, 4, 1, mask,
      grad_input.tensor, grad_gamma.tensor, grad_beta.tensor, &workspace_bytes, &executor));
  void* workspace = nullptr;
  if (workspace_bytes > 0)
    CHECK(aclrtMalloc(&workspace, workspace_bytes, ACL_MEM_MALLOC_HUGE_FIRST));
  CHECK(aclnnGroupNormBackward(workspace, workspace_bytes, executor, stream));
  CHECK(aclrtSynchronizeStream(stream));

  if (Print("gradInput", grad_input) || Print("gradGammaOut", grad_gamma) ||
      Print("gradBetaOut", grad_beta))
    return 1;

  for (const DeviceTensor& each :
       {grad_out, input, mean, rstd, gamma, grad_input, grad_gamma, grad_beta}) {
    aclDestroyTensor(each.tensor);
    CHECK(aclrtFree(each.data));
  }
  aclDestroyBoolArray(mask);
  if (workspace != nullptr) CHECK(aclrtFree(workspace));
  CHECK(aclrtDestroyStream(stream));
  CHECK(aclrtResetDevice(0));
  CHECK(aclFinalize());
  return 0;
}
