// Every operator schema of the package. No code.
#include <torch/library.h>

TORCH_LIBRARY(group_norm_grad, m) {
  m.set_python_module("group_norm_grad");
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def(
      "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
      "float eps=1e-05) -> Tensor",
      tags);
  m.def(
      "group_norm_forward(Tensor input, Tensor? weight, Tensor? bias, SymInt N, SymInt C, "
      "SymInt HxW, int group, float eps) -> (Tensor, Tensor, Tensor)",
      tags);
  m.def(
      "group_norm_backward(Tensor grad_out, Tensor input, Tensor mean, Tensor rstd, "
      "Tensor? weight, SymInt N, SymInt C, SymInt HxW, int group, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)",
      tags);
}
