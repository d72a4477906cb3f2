"""Every way to call the backward on npu tensors, against the float64 oracle; on the loopback device of this process.

The forward is torch_npu's operator, which the loopback runtime computes with ATen; the backward is our kernel on the
executor, or for Ascend910A the route of composed operators.
"""

from __future__ import annotations

import ctypes
import os
import random
from contextlib import nullcontext

import cases
import pytest
import reference
import torch
import torch.nn.functional as F
from cases import BF16, F16, F32, F64
from conftest import HAS_KERNEL, SUPPORTS_BF16, kernel_calls, to_npu
from torch import Tensor

import group_norm_grad

SEEDS = int(os.environ.get("NPU_SUITE_SEEDS", "60"))
DTYPES = [dtype for dtype in (F32, F16, BF16) if SUPPORTS_BF16 or dtype != BF16]
SHAPES = {
    "2d": ((5, 12), 3),
    "3d": ((2, 6, 9), 2),
    "4d": ((2, 8, 5, 7), 4),
    "5d": ((1, 6, 2, 3, 5), 3),
    "tiles": ((3, 64, 7, 7), 32),
    "long": ((1, 4, 3, 701), 2),
    "empty_batch": ((0, 6, 4), 3),
    "empty_space": ((2, 6, 0), 3),
}
backward = torch.ops.group_norm_grad.group_norm_backward


def check(got: tuple[Tensor | None, ...], exact, mask, dtypes) -> None:
    for name, value, want, asked, dtype in zip(
        reference.NAMES, got, exact, mask, dtypes, strict=True
    ):
        assert (value is not None) == bool(asked), name
        if value is not None:
            assert value.device.type == "npu"
            assert value.dtype == dtype
            reference.assert_within(value.cpu(), want, what=name)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_operator_on_random_problems(seed: int) -> None:
    """Any strides, dtypes, masks, dimensions; the seeds that draw float64 or, where absent, bfloat16 are moved on."""
    problem = cases.random_problem(seed)
    for step in range(1, 100):
        if problem.dtypes.data != F64 and (SUPPORTS_BF16 or problem.dtypes.data != BF16):
            break
        problem = cases.random_problem(10_000 * step + seed)
    tensors = problem.tensors()
    n, c, hxw = cases.sizes(problem.shape)
    exact = reference.gradients(
        tensors.grad_out, tensors.input, tensors.mean, tensors.rstd, tensors.weight, problem.groups
    )
    moved = [None if t is None else to_npu(t) for t in tensors[:5]]
    before = [None if t is None else t.cpu() for t in moved]
    calls = kernel_calls()
    got = backward(*moved, n, c, hxw, problem.groups, list(problem.mask))
    parameter = problem.dtypes.weight if problem.has_weight else problem.dtypes.stats
    check(got, exact, problem.mask, (problem.dtypes.data, parameter, parameter))
    expected = HAS_KERNEL and any(
        asked and want.value.numel() for asked, want in zip(problem.mask, exact, strict=True)
    )
    assert kernel_calls() == calls + expected
    for was, now in zip(before, moved, strict=True):
        assert was is None or torch.equal(was.nan_to_num(7), now.cpu().nan_to_num(7)), (
            "an input was written"
        )


def by_function(x, groups, weight, bias):
    return group_norm_grad.group_norm(x, groups, weight, bias)


def by_module(x, groups, weight, bias):
    module = group_norm_grad.GroupNorm(groups, x.shape[1], affine=weight is not None)
    module = module.to(device=x.device, dtype=x.dtype)
    if weight is None:
        return module(x)
    return torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x,))


def by_operator(x, groups, weight, bias):
    return torch.ops.group_norm_grad.group_norm(x, groups, weight, bias)


def by_torch(x, groups, weight, bias):
    return F.group_norm(x, groups, weight, bias)


# The drop-in, what surrounds it, and whether its statistics are float32 beside a 16-bit input.
DROP_INS = {
    "function": (by_function, nullcontext, True),
    "module": (by_module, nullcontext, True),
    "operator": (by_operator, nullcontext, True),
    "enabled": (by_torch, group_norm_grad.enabled, False),
    "c_api": (by_torch, nullcontext, False),  # ASCEND_CUSTOM_OPP_PATH, no change to the program
}


# What requires a gradient of input, weight and bias; without weight and bias, as (True, None, None).
GRAPHS = [*(mask for mask in cases.MASK_TUPLES if any(mask)), (True, None, None)]
LAYOUTS = [name for name in cases.LAYOUTS if not name.startswith(("expanded", "zero"))]
# torch_npu's F.group_norm refuses channels_last, which "transposed" may turn out to be.
LAYOUTS_OF_TORCH = ["contiguous", "sliced", "every_other"]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", DROP_INS)
def test_training_gradients(name, dtype, shape) -> None:
    """All that may require a gradient, with another layout of the input and of the upstream gradient each time."""
    call, scope, float_statistics = DROP_INS[name]
    size, groups = shape
    n, c, hxw = cases.sizes(size)
    x = (3 + torch.randn(size)).to(dtype)
    dy = (0.3 + torch.randn(size)).to(dtype)
    weight, bias = (1.3 + 0.4 * torch.randn(c)).to(dtype), torch.randn(c).to(dtype)
    of_forward = (t.npu().to(F32 if float_statistics else dtype) for t in (x, weight, bias))
    _, mean, rstd = torch.native_group_norm(*of_forward, n, c, hxw, groups, cases.EPS)
    layouts = LAYOUTS_OF_TORCH if call is by_torch else LAYOUTS
    rng = random.Random(f"{name} {dtype} {size}")
    for mask in GRAPHS:
        input = to_npu(cases.lay_out(x, rng.choice(layouts), rng))
        grad_out = cases.lay_out(dy, rng.choice(cases.LAYOUTS), rng)
        parameters = [
            None if m is None else t.npu() for t, m in zip((weight, bias), mask[1:], strict=True)
        ]
        leaves = [t for t, m in zip((input, *parameters), mask, strict=True) if m]
        for leaf in leaves:
            leaf.requires_grad_()
        calls = kernel_calls()
        with scope():
            y = call(input, groups, *parameters)
            results = iter(torch.autograd.grad(y, leaves, to_npu(grad_out)))
        got = tuple(next(results) if m else None for m in mask)
        assert kernel_calls() == calls + (HAS_KERNEL and (x.numel() > 0 or any(mask[1:])))
        given = weight if parameters[0] is not None else None
        exact = reference.gradients(grad_out, x, mean.cpu(), rstd.cpu(), given, groups)
        check(got, exact, mask, (dtype,) * 3)


@pytest.mark.parametrize("mask", cases.MASKS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["operator", "enabled", "c_api"])
def test_masks_of_the_operator(name, dtype, mask) -> None:
    problem = cases.Problem(
        (2, 6, 5, 3),
        3,
        cases.DTypes(dtype, dtype, dtype),
        input_layout="transposed",
        grad_layout="channels_last_slice",
    )
    tensors = problem.tensors()
    moved = [to_npu(t) for t in tensors[:5]]
    operator = backward if name == "operator" else torch.ops.aten.native_group_norm_backward
    with DROP_INS[name][1]():
        got = operator(*moved, *cases.sizes(problem.shape), 3, mask)
    check(got, reference.gradients(*tensors[:5], 3), mask, (dtype,) * 3)


def test_enable_and_disable_change_the_dispatcher_on_npu() -> None:
    """The C API is in the way of neither: with it out of reach of this call, only ours could run."""
    bad = torch.empty(2, 4, 3, dtype=F64, device="npu")
    arguments = (bad, bad, bad[:, :2, 0], bad[:, :2, 0], None, 2, 4, 3, 2, [True] * 3)
    with group_norm_grad.enabled(), pytest.raises(NotImplementedError, match="'Double' on npu"):
        torch.ops.aten.native_group_norm_backward(*arguments)


def test_results_are_bit_equal_from_run_to_run() -> None:
    problem = cases.Problem((3, 20, 7, 9), 5, mask=(True, True, True), offset=1e3)
    moved = [t.npu() for t in problem.tensors()[:5]]
    results = [
        [t.cpu() for t in backward(*moved, *cases.sizes(problem.shape), 5, [True] * 3)]
        for _ in range(5)
    ]
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_double_backward() -> None:
    x = torch.randn(2, 4, 6, dtype=F32)
    w = torch.rand(4) + 0.5

    def second(device: str) -> list[Tensor]:
        a, b = x.to(device).requires_grad_(), w.to(device).requires_grad_()
        y = group_norm_grad.group_norm(a, 2, b)
        upstream = torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(device)
        (first,) = torch.autograd.grad(y, a, upstream, create_graph=True)
        return [t.cpu() for t in torch.autograd.grad(first, [a, b], upstream)]

    for got, want in zip(second("npu"), second("cpu"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_the_environment_reaches_the_c_api() -> None:
    path = os.path.join(os.environ["ASCEND_CUSTOM_OPP_PATH"], "op_api", "lib", "libcust_opapi.so")
    assert ctypes.CDLL(path).aclnnGroupNormBackwardGetLastError is not None
