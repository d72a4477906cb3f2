"""First and second derivatives of our operators and of GroupNormFunction, against finite differences and F.group_norm.

What programs do with them is in test_citizen_autograd and test_transforms; the kernel's accuracy is in test_numerics.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from cases import BF16, F32, F64, MASKS, DTypes, Problem, sizes
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import group_norm_grad

OPS = torch.ops.group_norm_grad
DOUBLE = DTypes(F64, F64, F64)
GroupNorm = Callable[..., Tensor]


def by_class(*args: object) -> Tensor:
    output: Tensor = group_norm_grad.GroupNormFunction.apply(*args)[0]
    return output


WAYS: dict[str, GroupNorm] = {"function": group_norm_grad.group_norm, "class": by_class}
way = pytest.mark.parametrize("group_norm", WAYS.values(), ids=WAYS.keys())

SMALL: dict[str, tuple[tuple[int, ...], int]] = {
    "two_dims": ((3, 6), 2),
    "three_dims_d1": ((2, 3, 4), 3),
    "four_dims": ((2, 6, 3, 2), 3),
    "five_dims_g1": ((1, 2, 2, 3, 2), 1),
    "empty_batch": ((0, 4, 3), 2),
}
small = pytest.mark.parametrize(("shape", "groups"), SMALL.values(), ids=SMALL.keys())


def leaves(
    shape: tuple[int, ...], groups: int, layout: str = "contiguous", dtypes: DTypes = DOUBLE
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """input, weight and bias, and an upstream gradient."""
    problem = Problem(shape, groups, dtypes, offset=0.5, input_layout=layout, seed=7)
    grad_out, input, _, _, weight, bias = problem.tensors()
    assert weight is not None and bias is not None
    return input, weight, bias, grad_out


@way
@small
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradcheck_for_every_subset(
    group_norm: GroupNorm, shape: tuple[int, ...], groups: int, layout: str
) -> None:
    """Reverse, forward and batched first derivatives and second ones, for each subset of requires_grad."""
    for subset in MASKS[:-1]:
        inputs = leaves(shape, groups, layout)[:3]
        for tensor, wants in zip(inputs, subset, strict=True):
            tensor.requires_grad_(wants)

        def call(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return group_norm(x, groups, w, b, 1e-2)

        assert gradcheck(call, inputs, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(call, inputs)


@way
@pytest.mark.parametrize(("has_weight", "has_bias"), [(True, False), (False, True), (False, False)])
def test_gradcheck_without_weight_or_bias(
    group_norm: GroupNorm, has_weight: bool, has_bias: bool
) -> None:
    input, weight, bias, _ = leaves(*SMALL["four_dims"])
    given = [input, *([weight] if has_weight else []), *([bias] if has_bias else [])]
    for tensor in given:
        tensor.requires_grad_()

    def call(x: Tensor, *vectors: Tensor) -> Tensor:
        rest = list(vectors)
        w = rest.pop(0) if has_weight else None
        b = rest.pop(0) if has_bias else None
        return group_norm(x, 3, w, b, 1e-2)

    assert gradcheck(call, given, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, given)


@small
def test_gradcheck_of_the_override(shape: tuple[int, ...], groups: int) -> None:
    inputs = [t.requires_grad_() for t in leaves(shape, groups)[:3]]
    with group_norm_grad.enabled():

        def call(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return F.group_norm(x, groups, w, b, 1e-2)

        assert gradcheck(call, inputs, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(call, inputs)


@small
def test_gradcheck_of_group_norm_forward(shape: tuple[int, ...], groups: int) -> None:
    """All three outputs have derivatives: output, mean and rstd."""
    inputs = [t.requires_grad_() for t in leaves(shape, groups)[:3]]
    n, c, s = sizes(shape)

    def call(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return OPS.group_norm_forward(x, w, b, n, c, s, groups, 1e-2)  # type: ignore[no-any-return]

    assert gradcheck(call, inputs, check_forward_ad=True)
    assert gradgradcheck(call, inputs)


@small
@pytest.mark.parametrize("mask", MASKS[:-1], ids=str)
def test_gradcheck_of_group_norm_backward(
    shape: tuple[int, ...], groups: int, mask: list[bool]
) -> None:
    """The backward operator by itself, its five tensors independent variables, for every mask."""
    input, weight, _, grad_out = leaves(shape, groups)
    n, c, s = sizes(shape)
    generator = torch.Generator().manual_seed(3)
    mean, rstd = torch.rand(2, n, groups, generator=generator, dtype=F64) + 0.5
    inputs = [t.requires_grad_() for t in (grad_out, input, mean, rstd, weight)]

    def call(dy: Tensor, x: Tensor, m: Tensor, r: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        grads = OPS.group_norm_backward(dy, x, m, r, w, n, c, s, groups, mask)
        return tuple(grad for grad in grads if grad is not None)

    if mask == [False, False, True]:  # grad_bias is a function of grad_out alone
        assert torch.autograd.grad(call(*inputs)[0].sum(), inputs[0])[0].shape == shape
        inputs = [inputs[0], *(t.detach() for t in inputs[1:])]
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@way
@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_second_derivatives_are_those_of_pytorch(group_norm: GroupNorm, dtype: torch.dtype) -> None:
    """A gradient penalty in 32 and 16 bits against float64."""

    def penalty(function: GroupNorm, tensors: list[Tensor], upstream: Tensor) -> tuple[Tensor, ...]:
        x, w, b = (t.detach().clone().requires_grad_() for t in tensors)
        output = function(x, 4, w, b)
        first = torch.autograd.grad(output, (x, w, b), upstream, create_graph=True)
        loss = sum((g.double() ** 2).sum() for g in first)
        return torch.autograd.grad(loss, (x, w))  # type: ignore[arg-type]

    dtypes = DTypes(dtype, F32, dtype)
    *tensors, upstream = leaves((3, 8, 5, 4), 4, "channels_last", dtypes)
    got = penalty(group_norm, tensors, upstream)
    want = penalty(F.group_norm, [t.double() for t in tensors], upstream.double())
    tolerance = 1e-4 if dtype == F32 else 5e-2
    for g, expected in zip(got, want, strict=True):
        assert g.dtype == dtype
        error = (g.double() - expected).norm() / expected.norm()
        assert error < tolerance, f"relative error {error:.3g}"


def test_the_backward_is_our_operator() -> None:
    """Autograd of each way calls our kernel, seen by the profiler, and ATen's own operator is not called."""
    x, weight, bias, upstream = leaves((2, 8, 3), 4)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    for function in WAYS.values():
        with torch.profiler.profile() as profile:
            torch.autograd.grad(function(x, 4, weight, bias), inputs, upstream)
        names = {event.key for event in profile.key_averages()}
        assert "group_norm_grad::group_norm_backward" in names
        assert "aten::native_group_norm_backward" not in names
