"""Computes a fixed list of problems with the instruction set of GROUP_NORM_GRAD_ISA, and saves inputs' seeds and results."""

from __future__ import annotations

import sys

import torch

import group_norm_grad
from group_norm_grad import _C

PROBLEMS = [
    (2, 12, (5, 7), 3),
    (3, 64, (8, 8), 8),
    (70, 32, (3, 3), 4),
    (1, 20, (70, 90), 1),
    (5, 48, (1, 1), 16),
    (2, 6, (3, 2, 5), 2),
]


def main() -> None:
    """Run every problem in every dtype and layout; the results go to the path given."""
    results = {}
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        for n, c, space, groups in PROBLEMS:
            for last in (False, True):
                torch.manual_seed(n + c)
                x = (torch.randn(n, c, *space) + 3).to(dtype)
                grad_out = torch.randn(n, c, *space).to(dtype)
                weight, bias = (torch.randn(c).to(dtype) for _ in range(2))
                if last:
                    form = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
                    x = x.contiguous(memory_format=form)
                x.requires_grad_()
                weight.requires_grad_()
                bias.requires_grad_()
                out = group_norm_grad.group_norm(x, groups, weight, bias)
                gradients = torch.autograd.grad(out, (x, weight, bias), grad_out)
                results[(str(dtype), n, c, space, last)] = [out.detach(), *gradients]
    torch.save({"isa": _C.isa_in_use(), "results": results}, sys.argv[1])


if __name__ == "__main__":
    main()
