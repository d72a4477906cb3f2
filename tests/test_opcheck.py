"""torch.library.opcheck on every operator for every sample that it accepts; no values beyond what opcheck compares."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import torch
from cases import ALL, BF16, EPS, F16, F32, F64, MASKS, DTypes, Problem, sizes
from dropins import feature_of_operators
from reference import statistics
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db

import group_norm_grad  # noqa: F401  (registers the operators)

pytestmark = feature_of_operators("torch.library.opcheck on every operator")
OPS = torch.ops.group_norm_grad
(OPINFO,) = [op for op in op_db if op.name == "nn.functional.group_norm"]
DTYPES = (F32, F64, F16, BF16)

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "two_dims": ((3, 8), 4),
    "three_dims": ((2, 6, 5), 3),
    "four_dims": ((2, 8, 3, 4), 2),
    "five_dims": ((1, 4, 2, 3, 2), 4),
    "empty_batch": ((0, 4, 3), 2),
}
# opcheck copies its inputs, which breaks up memory that a broadcast input shares: only the other layouts are of use.
LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced")


def check(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
    dtypes = [arg.dtype for arg in args if isinstance(arg, Tensor)]
    loose = any(dtype in (F16, BF16) for dtype in dtypes)
    tolerance: dict[str, Any] = {"rtol": 2e-2, "atol": 2e-2} if loose else {}
    torch.library.opcheck(op, args, kwargs, **tolerance)


def problems(dtype: torch.dtype) -> Iterator[Problem]:
    """Problems that go through shapes, layouts, dtypes of the weight, presence of weight and bias, and masks together."""
    wide = F64 if dtype == F64 else F32
    shapes, layouts, weights = cycle(SHAPES.values()), cycle(LAYOUTS), cycle((dtype, dtype, wide))
    present = cycle(((True, True), (True, False), (False, False), (True, True), (False, True)))
    for seed in range(24):
        shape, groups = next(shapes)
        has_weight, has_bias = next(present)
        layout = next(layouts)
        mask = MASKS[seed % 8]
        yield Problem(
            shape,
            groups,
            DTypes(dtype, wide, next(weights)),
            has_weight=has_weight,
            has_bias=has_bias,
            mask=(mask[0], mask[1], mask[2]),
            offset=3.0,
            input_layout=layout,
            grad_layout=layout,
            seed=seed,
        )


def opinfo_samples(
    dtype: torch.dtype,
) -> Iterator[tuple[Tensor, int, Tensor | None, Tensor | None, float]]:
    torch.manual_seed(0)
    for sample in OPINFO.sample_inputs("cpu", dtype, requires_grad=True):
        options = {"weight": None, "bias": None, "eps": 1e-5, **sample.kwargs}
        (groups,) = sample.args
        # A negative eps makes NaN, which opcheck does not compare.
        yield sample.input, groups, options["weight"], options["bias"], abs(options["eps"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_group_norm_on_pytorchs_samples(dtype: torch.dtype) -> None:
    for sample in opinfo_samples(dtype):
        check(OPS.group_norm.default, sample)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_on_pytorchs_samples(dtype: torch.dtype) -> None:
    for input, groups, weight, bias, eps in opinfo_samples(dtype):
        n, c, s = sizes(tuple(input.shape))
        check(OPS.group_norm_forward.default, (input, weight, bias, n, c, s, groups, eps))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_backward_on_pytorchs_samples(dtype: torch.dtype) -> None:
    for input, groups, weight, _, eps in opinfo_samples(dtype):
        n, c, s = sizes(tuple(input.shape))
        mean, rstd = statistics(input.detach(), groups, eps, F64 if dtype == F64 else F32)
        grad_out = torch.randn(input.shape).to(dtype)
        check(
            OPS.group_norm_backward.default,
            (grad_out, input, mean, rstd, weight, n, c, s, groups, ALL),
        )


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_group_norm_and_forward(dtype: torch.dtype, requires_grad: bool) -> None:
    for problem in problems(dtype):
        _, input, _, _, weight, bias = problem.tensors()
        for tensor in (input, weight, bias):
            if tensor is not None:
                tensor.requires_grad_(requires_grad)
        n, c, s = sizes(problem.shape)
        check(OPS.group_norm.default, (input, problem.groups, weight, bias, EPS))
        check(OPS.group_norm_forward.default, (input, weight, bias, n, c, s, problem.groups, EPS))


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_backward(dtype: torch.dtype, requires_grad: bool) -> None:
    """Every mask; with gradients asked for only where the mask keeps all outputs, as None has no derivative."""
    for problem in problems(dtype):
        grad_out, input, mean, rstd, weight, _ = problem.tensors()
        mask = ALL if requires_grad else list(problem.mask)
        for tensor in (grad_out, input, mean, rstd, weight):
            if tensor is not None:
                tensor.requires_grad_(requires_grad)
        n, c, s = sizes(problem.shape)
        args = (grad_out, input, mean, rstd, weight, n, c, s, problem.groups, mask)
        check(OPS.group_norm_backward.default, args)
