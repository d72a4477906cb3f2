"""Forward, backward and SGD steps that go back and forth between two streams, against the same training on the CPU.

Arguments: steps, and the wait to leave out (none, update or step): without it, a race must show as wrong values. Exits 0
when the weights agree, 2 when they do not.
"""

from __future__ import annotations

import gc
import sys

import torch
from torch import Tensor

import group_norm_grad

STEPS, LEFT_OUT = int(sys.argv[1]), sys.argv[2]
SHAPE, GROUPS = (2, 8, 5, 3), 4
generator = torch.Generator().manual_seed(3)
DATA = [
    (torch.randn(SHAPE, generator=generator) + 1, torch.randn(SHAPE, generator=generator))
    for _ in range(37)
]


def parameters(device: str) -> list[Tensor]:
    w, b = torch.linspace(0.5, 1.5, 8), torch.linspace(-1, 1, 8)
    return [w.to(device).requires_grad_(), b.to(device).requires_grad_()]


def gradients(step: int, p: list[Tensor], device: str) -> tuple[Tensor, ...]:
    x, upstream = (t.to(device, non_blocking=True) for t in DATA[step % len(DATA)])
    y = group_norm_grad.group_norm(x.requires_grad_(), GROUPS, *p)
    z = group_norm_grad.group_norm(y, GROUPS, *p)
    return torch.autograd.grad(z, p, upstream)


def train_cpu() -> list[Tensor]:
    p = parameters("cpu")
    optimizer = torch.optim.SGD(p, lr=1e-2, foreach=False)
    for step in range(STEPS):
        for each, gradient in zip(p, gradients(step, p, "cpu"), strict=True):
            each.grad = gradient
        optimizer.step()
    return [each.detach() for each in p]


def train_npu() -> list[Tensor]:
    p = parameters("npu")
    optimizer = torch.optim.SGD(p, lr=1e-2, foreach=False)
    compute, update = torch.npu.Stream(), torch.npu.Stream()
    compute.wait_stream(torch.npu.current_stream())
    for step in range(STEPS):
        with torch.npu.stream(compute):
            got = gradients(step, p, "npu")
        if LEFT_OUT != "update":
            update.wait_stream(compute)
        with torch.npu.stream(update):
            for each, gradient in zip(p, got, strict=True):
                gradient.record_stream(update)
                each.grad = gradient
            optimizer.step()
        if LEFT_OUT != "step":
            compute.wait_stream(update)
    torch.npu.synchronize()
    return [each.detach().cpu() for each in p]


start = torch.npu.memory_allocated()
got = train_npu()
gc.collect()
assert torch.npu.memory_allocated() == start, "device memory was not given back"
worst = max(float((a - b).abs().max()) for a, b in zip(got, train_cpu(), strict=True))
print(f"{STEPS} steps, without wait: {LEFT_OUT}, largest difference {worst:.3g}")
sys.exit(0 if worst < 1e-4 else 2)
