"""One short training step on npu, as a program that ends at once with work and tensors still alive. The exit code is the test."""

from __future__ import annotations

import sys
import time

import torch
import torch.nn.functional as F

import group_norm_grad

torch.manual_seed(int(sys.argv[1]))
x = torch.randn(2, 6, 5, 3).npu().requires_grad_()
weight = torch.rand(6).npu().requires_grad_()
side = torch.npu.Stream()
with torch.npu.stream(side):
    y = group_norm_grad.group_norm(x, 3, weight)
    gradients = torch.autograd.grad(y, [x, weight], torch.ones_like(y))
plain = F.group_norm(x, 3, weight)  # its backward is the C API
more = torch.autograd.grad(plain, [x, weight], torch.ones_like(plain))
torch.npu.current_stream().wait_stream(side)
if int(sys.argv[1]) % 2:
    assert torch.allclose(gradients[1].cpu(), more[1].cpu(), atol=1e-5)

# PyTorch aborts when the interpreter ends while autograd's thread waits for its lock to drop a tensor. The calls that are
# under way at the end are ours alone.
time.sleep(0.05)
images, sizes = x.detach(), (2, 6, 15, 3)
_, mean, rstd = torch.ops.group_norm_grad.group_norm_forward(images, None, None, *sizes, 1e-5)
for _ in range(10):
    last = torch.ops.group_norm_grad.group_norm_backward(
        images, images, mean, rstd, None, *sizes, [True] * 3
    )
