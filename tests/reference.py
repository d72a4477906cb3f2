"""The float64 gradients of group normalisation and the one error bound that every numerical test uses.

Nothing of group_norm_grad and no kernel of PyTorch for this gradient may be used here: it is the independent side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

NAMES = ("grad_input", "grad_weight", "grad_bias")

# Roundings that a term meets outside the sums: the difference x - mean, the products with rstd, weight and each other,
# the division by D*S and the final additions.
ROUNDINGS_OF_A_TERM = 6
# A blocked sum adds a chain of at most this many terms before it starts to combine partial sums in a tree.
CHAIN = 8


class Exact(NamedTuple):
    """One gradient in float64, with what its error bound needs.

    value: the gradient; magnitude: the same formula over absolute values (what its roundings are relative to), of
    value's shape; depth: how many additions a term goes through in a blocked, then pairwise sum.
    """

    value: Tensor
    magnitude: Tensor
    depth: float


def sum_depth(length: int) -> float:
    """Additions that a term meets when length terms are summed in blocks, and the blocks pairwise."""
    return CHAIN + 2 * math.log2(max(length, 1))


def statistics(input: Tensor, groups: int, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation, (N, groups) each, computed in float64 and rounded once to dtype."""
    n, c = input.shape[:2]
    x = (
        input.double().reshape(n, groups, -1)
        if input.numel()
        else input.new_zeros(n, groups, 1).double()
    )
    mean = x.mean(-1)
    variance = (x - mean[..., None]).square().mean(-1)
    return mean.to(dtype), (variance + eps).rsqrt().to(dtype)


def gradients(
    grad_out: Tensor, input: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, groups: int
) -> tuple[Exact, Exact, Exact]:
    """The three gradients for the mean and rstd given, from grad_out, input (N, C, *), mean, rstd (N, groups), weight (C).

    xhat = (x - mean) * rstd; grad_bias and grad_weight are the sums of dy and dy*xhat over batch and space, and
    grad_input = rstd * (w*dy - average(w*dy) - xhat * average(w*dy*xhat)), averages over one sample's group.
    """
    n, c = input.shape[:2]
    d = c // groups
    s = math.prod(input.shape[2:])
    shape = (n, groups, d, s)
    dy = grad_out.double().reshape(shape)
    r = rstd.double().reshape(n, groups, 1, 1)
    xhat = (input.double().reshape(shape) - mean.double().reshape(n, groups, 1, 1)) * r
    w = torch.ones(c) if weight is None else weight
    w_dy = w.double().reshape(1, groups, d, 1) * dy

    def average(terms: Tensor) -> Tensor:
        return terms.sum((2, 3), keepdim=True) / max(d * s, 1)

    grad_input = r * (w_dy - average(w_dy) - xhat * average(w_dy * xhat))
    size = r.abs() * (w_dy.abs() + average(w_dy.abs()) + xhat.abs() * average((w_dy * xhat).abs()))

    def per_channel(terms: Tensor) -> Tensor:
        return terms.sum((0, 3)).reshape(c)

    depth = sum_depth(n) + sum_depth(s)
    return (
        Exact(
            grad_input.reshape(input.shape), size.reshape(input.shape), sum_depth(d) + sum_depth(s)
        ),
        Exact(per_channel(dy * xhat), per_channel((dy * xhat).abs()), depth),
        Exact(per_channel(dy), per_channel(dy.abs()), depth),
    )


def _unit_roundoff(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps / 2


def _accumulation_roundoff(dtype: torch.dtype) -> float:
    """Sums run in double for double, and in float for everything else."""
    return _unit_roundoff(torch.float64 if dtype == torch.float64 else torch.float32)


def storing(exact: Exact, dtype: torch.dtype) -> Tensor:
    """Largest error of rounding the exact value once to dtype, with the fixed spacing of dtype's smallest numbers."""
    info = torch.finfo(dtype)
    return _unit_roundoff(dtype) * exact.value.abs() + info.smallest_normal * info.eps / 2


def error_bound(exact: Exact, dtype: torch.dtype) -> Tensor:
    """The error that a result of dtype may have, element by element.

    k * u * magnitude for the arithmetic, plus one rounding to dtype, where u is the unit roundoff of the accumulation
    (float32, or float64 for float64), magnitude is the sum of the absolute terms, and k is the number of roundings that
    one term meets: a few in its products and depth in its sums. A sum in blocks keeps depth logarithmic, so a plain
    running sum over a long row breaks the bound; so does any formula that is not centred, as its roundings are relative
    to |mean| * rstd and not to |xhat|. The float64 oracle's own error for float64 is of the size of the first term with
    half the depth, which the bound has to spare: it adds up worst cases where real roundings cancel.
    """
    k = ROUNDINGS_OF_A_TERM + exact.depth
    arithmetic = k * _accumulation_roundoff(dtype) * exact.magnitude
    return arithmetic + storing(exact, dtype) + _unit_roundoff(dtype) * arithmetic


def rounding(exact: Exact, dtype: torch.dtype) -> Tensor:
    """What two correct computations may differ by whatever they do: error_bound without the depth of the sums."""
    return error_bound(exact._replace(depth=0.0), dtype)


def assert_within(got: Tensor, exact: Exact, *, what: str) -> None:
    """Fails with index, got, want and bound of the worst element where got is outside error_bound (NaN is outside)."""
    assert got.shape == exact.value.shape, (
        f"{what}: shape {tuple(got.shape)}, want {tuple(exact.value.shape)}"
    )
    bound = error_bound(exact, got.dtype)
    error = (got.double() - exact.value).abs()
    outside = ~(error <= bound)
    if not bool(outside.any()):
        return
    excess = torch.where(outside, (error / bound).nan_to_num(nan=math.inf), 0.0)
    flat = int(excess.argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), got.shape))
    raise AssertionError(
        f"{what}: {int(outside.sum())} of {got.numel()} elements outside the bound, worst at index {index}: "
        f"got {float(got[index])!r}, want {float(exact.value[index])!r}, "
        f"error {float(error[index]):.3g}, bound {float(bound[index]):.3g}"
    )


def max_error(got: Tensor, exact: Exact) -> float:
    """Largest absolute error of got; NaN where got has one."""
    return float((got.double() - exact.value).abs().max()) if got.numel() else 0.0


def rms_error(got: Tensor, want: Tensor) -> float:
    """Root mean square of got - want in float64."""
    return float((got.double() - want.double()).square().mean().sqrt())
