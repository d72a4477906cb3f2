"""The problems that the tests run: one shape table whose ids say why, layouts, and seeded random problems.

No expected values and no calls of group_norm_grad belong here.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from reference import statistics
from torch import Tensor

EPS = 1e-5
YES_NO = (True, False)
MASK_TUPLES = [(a, b, c) for a in YES_NO for b in YES_NO for c in YES_NO]
MASKS: list[list[bool]] = [list(mask) for mask in MASK_TUPLES]
ALL = [True, True, True]
OFFSETS = (0.0, 3.0, 1e3, 1e4)

F64, F32, F16, BF16 = torch.float64, torch.float32, torch.float16, torch.bfloat16
DTYPES = (F32, F64, F16, BF16)


class DTypes(NamedTuple):
    """dtype of grad_out and input, of mean and rstd, and of the weight."""

    data: torch.dtype
    stats: torch.dtype
    weight: torch.dtype

    def __str__(self) -> str:
        return "/".join(str(dtype).removeprefix("torch.") for dtype in self)


# float32 statistics with 16-bit data are what our forward saves; 16-bit ones are what F.group_norm under enable() saves.
DTYPE_SETS = (
    DTypes(F32, F32, F32),
    DTypes(F64, F64, F64),
    DTypes(F16, F32, F16),
    DTypes(F16, F32, F32),
    DTypes(F16, F16, F16),
    DTypes(BF16, F32, BF16),
    DTypes(BF16, F32, F32),
    DTypes(BF16, BF16, BF16),
)

# (N, C, *), groups: the id says what the shape is there for.
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "two_dims_s1": ((6, 12), 3),
    "two_dims_wide": ((3, 1030), 10),
    "one_value_a_channel": ((2, 8, 1, 1), 2),
    "one_value_in_all": ((1, 1, 1), 1),
    "one_batch": ((1, 6, 5), 2),
    "instance_norm_d1": ((3, 5, 7), 5),
    "layer_norm_g1": ((2, 24, 3, 5), 1),
    "shorter_than_a_vector": ((2, 6, 3), 2),
    "one_more_than_a_vector": ((2, 4, 17), 2),
    "one_less_than_two_vectors": ((2, 4, 31), 2),
    "several_rows_in_a_vector": ((3, 64, 5), 4),
    "primes_everywhere": ((5, 21, 13, 11), 7),
    "resnet_tail_7x7": ((2, 64, 7, 7), 32),
    "resnet_head_14x14_one_group_big": ((1, 128, 14, 14), 2),
    "unet_8x8": ((2, 320, 8, 8), 32),
    "unet_32x32": ((1, 64, 32, 32), 32),
    "long_row": ((1, 4, 20011), 2),
    "many_samples": ((257, 8, 3), 4),
    "odd_channels_of_a_group": ((2, 51, 6, 5), 3),
    "video_5d": ((1, 32, 3, 6, 5), 8),
    "empty_batch": ((0, 6, 5, 2), 3),
    "empty_space": ((2, 6, 0, 4), 3),
    "no_channels": ((2, 0, 3), 2),
    "empty_batch_two_dims": ((0, 4), 2),
}

SHAPE_PARAMS = [pytest.param(shape, groups, id=name) for name, (shape, groups) in SHAPES.items()]

LAYOUTS = (
    "contiguous",
    "channels_last",
    "channels_last_slice",
    "sliced",
    "every_other",
    "transposed",
    "expanded_batch",
    "expanded_space",
    "zero_stride",
)


def lay_out(values: Tensor, layout: str, rng: random.Random) -> Tensor:
    """The values in another layout of memory; the three broadcasting layouts repeat some of the values instead."""
    shape, dims = values.shape, values.dim()
    if layout == "channels_last":
        return values.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "channels_last_slice":
        wide = values.new_full((shape[0], *shape[2:], shape[1] + 3), math.nan).movedim(-1, 1)
        return wide.narrow(1, 1, shape[1]).copy_(values)
    if layout == "sliced":
        margins = [rng.randint(0, 2) for _ in shape]
        wide = values.new_full(
            [size + 2 * m for size, m in zip(shape, margins, strict=True)], math.nan
        )
        for dim, (size, margin) in enumerate(zip(shape, margins, strict=True)):
            wide = wide.narrow(dim, margin, size)
        return wide.copy_(values)
    if layout == "every_other":
        wide = values.new_full((*shape[:-1], 2 * shape[-1]), math.nan)
        return wide[..., ::2].copy_(values)
    if layout == "transposed":
        order = rng.sample(range(dims), dims)
        inverse = sorted(range(dims), key=order.__getitem__)
        return values.permute(order).contiguous().permute(inverse)
    if layout == "expanded_batch" and shape[0]:
        return values[:1].expand(shape)
    if layout == "expanded_space" and dims > 2 and values.numel():
        return values.flatten(2)[..., :1].reshape(*shape[:2], *[1] * (dims - 2)).expand(shape)
    if layout == "zero_stride" and values.numel():
        return values.flatten()[0].expand(shape)
    return values.contiguous()


@dataclass(frozen=True)
class Problem:
    """One backward problem; its tensors are made from the seed, so that its repr is enough to repeat it."""

    shape: tuple[int, ...]
    groups: int
    dtypes: DTypes = DTypes(F32, F32, F32)
    has_weight: bool = True
    has_bias: bool = True
    mask: tuple[bool, bool, bool] = (True, True, True)
    offset: float = 0.0
    input_layout: str = "contiguous"
    grad_layout: str = "contiguous"
    seed: int = 0

    def tensors(self) -> Tensors:
        """Random tensors: no weight is one, no bias zero, and the upstream gradient has no pattern to cancel."""
        rng = random.Random(self.seed)
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=F64)

        n, c = self.shape[:2]
        data, stats, affine = self.dtypes
        input = lay_out((self.offset + normal(*self.shape)).to(data), self.input_layout, rng)
        grad_out = lay_out((0.3 + normal(*self.shape)).to(data), self.grad_layout, rng)
        mean, rstd = statistics(input, self.groups, EPS, stats)
        if rng.random() < 0.25:
            mean, rstd = mean.t().contiguous().t(), rstd.t().contiguous().t()
        weight = (1.3 + 0.4 * normal(c)).to(affine) if self.has_weight else None
        bias = (normal(c) - 0.6).to(affine) if self.has_bias else None
        if weight is not None and rng.random() < 0.25:
            weight = lay_out(weight, "every_other", rng)
        return Tensors(grad_out, input, mean, rstd, weight, bias)


class Tensors(NamedTuple):
    """The tensors of a Problem: grad_out, input (N, C, *); mean, rstd (N, groups); weight, bias (C) or None."""

    grad_out: Tensor
    input: Tensor
    mean: Tensor
    rstd: Tensor
    weight: Tensor | None
    bias: Tensor | None


def sizes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """N, C and HxW of an input's shape, as the operators take them."""
    return shape[0], shape[1], math.prod(shape[2:])


def _random_shape(rng: random.Random) -> tuple[tuple[int, ...], int]:
    dims = rng.randint(2, 5)
    n = rng.choice((1, 1, 2, 3, 5, 8))
    groups = rng.choice((1, 1, 2, 3, 4, 7, 8, 32))
    d = rng.choice((1, 1, 2, 3, 4, 5, 8, 16))
    budget = max(1, 12000 // (n * groups * d))
    space: list[int] = []
    for _ in range(dims - 2):
        size = rng.choice((1, 2, 3, 4, 5, 7, 8, 11, 13, 14, 16, 17, 31, 32, 64, 67, 128, 1021))
        size = min(size, budget)
        budget = max(1, budget // size)
        space.append(size)
    rng.shuffle(space)
    shape = [n, groups * d, *space]
    if rng.random() < 0.02:
        shape[rng.choice([0, *range(2, dims)])] = 0
    return tuple(shape), groups


def random_problem(seed: int) -> Problem:
    """A problem drawn from every axis at once; the same seed gives the same problem."""
    rng = random.Random(seed)
    shape, groups = _random_shape(rng)
    dtypes = rng.choice(DTYPE_SETS)
    input_layout = rng.choice((*["contiguous"] * 4, *["channels_last"] * 3, *LAYOUTS))
    grad_layout = rng.choice((*[input_layout] * 6, *LAYOUTS))
    # A constant input has rstd = 1/sqrt(eps), and float16 cannot hold what follows from a 16-bit mean that is off.
    rounded_mean = dtypes.stats == F16
    if input_layout in ("zero_stride", "expanded_space") and rounded_mean:
        input_layout = "expanded_batch"
    return Problem(
        shape=shape,
        groups=groups,
        dtypes=dtypes,
        has_weight=rng.random() < 0.75,
        has_bias=rng.random() < 0.75,
        mask=rng.choice([(True, True, True), *MASK_TUPLES]),
        offset=rng.choice(OFFSETS[:2] if rounded_mean else OFFSETS),
        input_layout=input_layout,
        grad_layout=grad_layout,
        seed=seed,
    )
