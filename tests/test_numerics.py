"""Values of the backward operator on the CPU against float64, and against ATen's; no autograd beyond end-to-end checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from cases import (
    ALL,
    BF16,
    DTYPE_SETS,
    EPS,
    F16,
    F32,
    F64,
    MASKS,
    SHAPE_PARAMS,
    DTypes,
    Problem,
    Tensors,
    random_problem,
    sizes,
)
from reference import (
    NAMES,
    Exact,
    assert_within,
    gradients,
    max_error,
    rms_error,
    rounding,
    statistics,
)
from torch import Tensor

import group_norm_grad

pytestmark = pytest.mark.usefixtures("poisoned_empty")

PROBLEMS = 3600
BATCH = 60
Grads = tuple[Tensor | None, Tensor | None, Tensor | None]


def ours(problem: Problem, tensors: Tensors) -> Grads:
    grad_out, input, mean, rstd, weight, _ = tensors
    n, c, s = sizes(problem.shape)
    return torch.ops.group_norm_grad.group_norm_backward(
        grad_out, input, mean, rstd, weight, n, c, s, problem.groups, list(problem.mask)
    )


def aten(problem: Problem, tensors: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """ATen's gradients from the same values: what it has no code for (no weight, some mixes of dtypes) as ones and float32."""
    grad_out, input, mean, rstd, weight, _ = tensors
    n, c, s = sizes(problem.shape)
    stored = parameter_dtype(problem)
    if weight is None:
        weight = torch.ones(c, dtype=mean.dtype)
    if problem.dtypes.data in (F16, BF16):
        mean, rstd, weight = mean.float(), rstd.float(), weight.float()
    grads = torch.ops.aten.native_group_norm_backward(
        grad_out.contiguous(),
        input.contiguous(),
        mean.contiguous(),
        rstd.contiguous(),
        weight.contiguous(),
        n,
        c,
        s,
        problem.groups,
        ALL,
    )
    return grads[0], grads[1].to(stored), grads[2].to(stored)


def parameter_dtype(problem: Problem) -> torch.dtype:
    """grad_weight and grad_bias have the weight's dtype, or that of the statistics where there is no weight."""
    return problem.dtypes.weight if problem.has_weight else problem.dtypes.stats


def exact(problem: Problem, tensors: Tensors) -> tuple[Exact, Exact, Exact]:
    return gradients(*tensors[:5], problem.groups)


def check_outputs(problem: Problem, tensors: Tensors, got: Grads) -> None:
    """Values inside the bound, shapes, dtypes, and None exactly where the mask drops an output."""
    dtypes = (problem.dtypes.data, parameter_dtype(problem), parameter_dtype(problem))
    for name, wanted, grad, want, dtype in zip(
        NAMES, problem.mask, got, exact(problem, tensors), dtypes, strict=True
    ):
        if not wanted:
            assert grad is None, f"{name} should be None: {problem}"
            continue
        assert grad is not None and grad.dtype == dtype, f"{name} is not {dtype}: {problem}"
        assert_within(grad, want, what=f"{name} of {problem}")


def check_not_above_aten(problem: Problem, tensors: Tensors, got: Grads) -> None:
    reference = aten(problem, tensors)
    for name, grad, other, want in zip(NAMES, got, reference, exact(problem, tensors), strict=True):
        if grad is None or not grad.numel():
            continue
        allowed = max_error(other, want) + float(rounding(want, grad.dtype).max())
        error = max_error(grad, want)
        # A comparison with NaN is false: where ATen has no finite answer there is nothing to compare.
        assert not error > allowed, (
            f"{name}: error {error:.3g}, ATen's {max_error(other, want):.3g}, {problem}"
        )


@pytest.mark.parametrize("batch", range(PROBLEMS // BATCH))
def test_random_problems(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        problem = random_problem(seed)
        tensors = problem.tensors()
        before = [None if t is None else t.clone() for t in tensors]
        got = ours(problem, tensors)
        check_outputs(problem, tensors, got)
        check_not_above_aten(problem, tensors, got)
        for name, was, now in zip(Tensors._fields, before, tensors, strict=True):
            if was is not None and now is not None:
                assert torch.equal(was, now), f"{name} was written: {problem}"


@pytest.mark.parametrize("dtypes", DTYPE_SETS, ids=str)
@pytest.mark.parametrize(("shape", "groups"), SHAPE_PARAMS)
def test_every_shape(shape: tuple[int, ...], groups: int, dtypes: DTypes) -> None:
    """The shape table, in both memory formats, for every mask."""
    for layout in ("contiguous", "channels_last"):
        for has_weight in (True, False):
            for mask in MASKS:
                problem = Problem(
                    shape,
                    groups,
                    dtypes,
                    has_weight=has_weight,
                    mask=(mask[0], mask[1], mask[2]),
                    offset=3.0,
                    input_layout=layout,
                    grad_layout=layout,
                    seed=len(shape),
                )
                tensors = problem.tensors()
                check_outputs(problem, tensors, ours(problem, tensors))


@pytest.mark.parametrize("dims", [4, 5])
def test_grad_input_keeps_the_memory_format(dims: int) -> None:
    """As ATen's: grad_input is channels last where input is, whatever the layout of grad_out."""
    memory_format = torch.channels_last if dims == 4 else torch.channels_last_3d
    shape = (2, 8, 4, 5, 3)[:dims]
    for layout in ("contiguous", "channels_last"):
        for grad_layout in ("contiguous", "channels_last", "zero_stride"):
            problem = Problem(shape, 4, input_layout=layout, grad_layout=grad_layout)
            grad_input = ours(problem, problem.tensors())[0]
            assert grad_input is not None
            assert grad_input.is_contiguous(
                memory_format=memory_format
                if layout == "channels_last"
                else torch.contiguous_format
            ), (problem, grad_input.stride())


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 64, 16, 16), 8), ((2, 32, 33), 4), ((8, 96, 7, 7), 32)], ids=str
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_grad_weight_is_100_times_more_accurate_far_from_zero(
    shape: tuple[int, ...], groups: int, layout: str
) -> None:
    """float32, |mean|/std = 1e4: an uncentred sum loses four digits that a centred one keeps."""
    problem = Problem(shape, groups, offset=1e4, input_layout=layout, grad_layout=layout, seed=5)
    tensors = problem.tensors()
    want = exact(problem, tensors)[1].value
    got, other = ours(problem, tensors)[1], aten(problem, tensors)[1]
    assert got is not None and other is not None
    error, aten_error = rms_error(got, want), rms_error(other, want)
    assert 100 * error <= aten_error, f"rms error {error:.3g}, ATen's {aten_error:.3g}"


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("weight_dtype", ["same", "float32"])
@pytest.mark.parametrize("offset", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("part", ["backward", "end_to_end"])
def test_16_bit_gradients_are_at_the_rounding_limit(
    dtype: torch.dtype, weight_dtype: str, offset: float, layout: str, part: str
) -> None:
    """Against float64 from the input on: rms error at most 1.05 times that of rounding the exact result to 16 bits.

    The backward by itself is given statistics that were rounded once; end to end has those that our forward saves.
    """
    affine = dtype if weight_dtype == "same" else F32
    dtypes = DTypes(dtype, F32, affine)
    problem = Problem(
        (8, 256, 24, 24),
        32,
        dtypes,
        offset=offset,
        input_layout=layout,
        grad_layout=layout,
        seed=11,
    )
    tensors = problem.tensors()
    grad_out, input, _, _, weight, bias = tensors
    assert weight is not None and bias is not None
    mean, rstd = statistics(input, problem.groups, EPS, F64)
    want = gradients(grad_out, input, mean, rstd, weight, problem.groups)
    limits = [rms_error(value.to(dtype), value) for value, _, _ in want]
    got: Sequence[Tensor | None]
    if part == "backward":
        got = ours(problem, tensors)
    else:
        leaves = [t.requires_grad_() for t in (input, weight, bias)]
        output = group_norm_grad.group_norm(input, problem.groups, weight, bias, EPS)
        got = torch.autograd.grad(output, leaves, grad_out)
    for name, grad, (value, _, _), limit in zip(NAMES, got, want, limits, strict=True):
        assert grad is not None
        error = rms_error(grad, value)
        assert error <= 1.05 * limit, f"{name}: {error / limit:.3f} times the rounding limit"


# Pairs that F.group_norm takes: the parameters have the input's dtype, or float32 beside 16 bits, or are absent.
PAIRS = [
    (d, w)
    for d in (F32, F64, F16, BF16)
    for w in dict.fromkeys((None, d, F64 if d == F64 else F32))
]


@pytest.mark.parametrize(("dtype", "weight_dtype"), PAIRS, ids=str)
def test_saved_statistics(dtype: torch.dtype, weight_dtype: torch.dtype | None) -> None:
    """float32 for 16-bit input whatever the weight's dtype, the input's dtype otherwise; both close to float64's."""
    x = (3 + torch.randn(2, 12, 5, 7, generator=torch.Generator().manual_seed(0))).to(dtype)
    weight = None if weight_dtype is None else torch.full((12,), 1.5, dtype=weight_dtype)
    output, mean, rstd = torch.ops.group_norm_grad.group_norm_forward(
        x, weight, None, 2, 12, 35, 4, EPS
    )
    stats = F64 if dtype == F64 else F32
    assert output.dtype == dtype and mean.dtype == rstd.dtype == stats
    assert mean.shape == rstd.shape == (2, 4)
    for got, want in zip((mean, rstd), statistics(x, 4, EPS, F64), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=20 * torch.finfo(stats).eps, atol=0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "transposed"])
@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16], ids=str)
def test_output_is_that_of_pytorch(dtype: torch.dtype, layout: str) -> None:
    """The forward is as near to float64's as ATen's; in float64, which has nothing wider here, within roundings of it."""
    dtypes = DTypes(dtype, F64 if dtype == F64 else F32, dtype)
    problem = Problem((3, 12, 6, 5), 4, dtypes, offset=3.0, input_layout=layout, seed=3)
    _, input, _, _, weight, bias = problem.tensors()
    for w, b in ((weight, bias), (weight, None), (None, bias), (None, None)):
        got = group_norm_grad.group_norm(input, 4, w, b, EPS)
        want = F.group_norm(input, 4, w, b, EPS)
        if dtype == F64:
            # ATen's channels-last forward is off by up to 55 roundings here; ours, against long doubles, by 6.
            assert (got - want).abs().max() <= 96 * torch.finfo(F64).eps * want.abs().max()
        else:
            wide = F.group_norm(
                input.double(),
                4,
                None if w is None else w.double(),
                None if b is None else b.double(),
                EPS,
            )
            assert rms_error(got, wide) <= 1.05 * rms_error(want, wide)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("upstream", ["constant", "same_sign"])
def test_error_does_not_grow_with_the_row(layout: str, upstream: str) -> None:
    """Sums of one sign over a million values: a running float32 sum is off by hundreds of roundings here."""
    shape, groups = (1, 4, 1 << 20), 2
    problem = Problem(shape, groups, offset=3.0, input_layout=layout, grad_layout=layout, seed=2)
    tensors = problem.tensors()
    grad_out = tensors.grad_out
    grad_out = torch.full_like(grad_out, 0.1) if upstream == "constant" else 0.1 + grad_out.abs()
    tensors = tensors._replace(grad_out=grad_out)
    got = ours(problem, tensors)
    check_outputs(problem, tensors, got)
    want = exact(problem, tensors)[2].value
    assert got[2] is not None
    relative = float(((got[2].double() - want) / want).abs().max())
    assert relative <= 16 * torch.finfo(F32).eps, f"grad_bias is off by {relative:.3g}"


def test_a_nan_stays_in_its_group_and_channel() -> None:
    """One NaN in grad_out reaches the grad_input of its own group and the parameter gradients of its own channel only."""
    for layout in ("contiguous", "channels_last"):
        problem = Problem((3, 8, 6, 5), 4, input_layout=layout, grad_layout=layout)
        tensors = problem.tensors()
        tensors.grad_out[1, 5, 2, 3] = math.nan
        grad_input, grad_weight, grad_bias = ours(problem, tensors)
        assert grad_input is not None and grad_weight is not None and grad_bias is not None
        want = torch.zeros(3, 4, dtype=torch.bool)
        want[1, 2] = True
        assert torch.equal(grad_input.reshape(3, 4, -1).isnan().all(-1), want)
        assert torch.equal(grad_input.reshape(3, 4, -1).isnan().any(-1), want)
        for grad in (grad_weight, grad_bias):
            assert grad.isnan().nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0x7F800001, -1])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, F32])
def test_a_nan_weight_of_any_payload(
    bits: int, memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    """Rounding to bfloat16 adds to the bits, which would carry a NaN's full payload into its sign and make it a zero."""
    input = torch.randn(2, 8, 9, 7).to(dtype, memory_format=memory_format).requires_grad_()
    weight = torch.ones(8)
    weight.view(torch.int32)[3] = bits
    output = group_norm_grad.group_norm(input, 4, weight, torch.zeros(8))
    output.backward(torch.ones_like(output))
    of_channel, of_group = torch.zeros(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)
    of_channel[3] = of_group[2:4] = True
    assert input.grad is not None
    for result, want in ((output, of_channel), (input.grad, of_group)):
        assert torch.equal(result.isnan(), want[:, None, None].expand(input.shape))


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0x7FFF8000, 0x7F800001, -1])
@pytest.mark.parametrize("argument", ["mean", "rstd", "weight", "bias"])
@pytest.mark.parametrize("hw", [(9, 7), (3, 3), (1, 1)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_nan_of_any_payload_beside_bfloat16(
    bits: int, argument: str, hw: tuple[int, int], memory_format: torch.memory_format
) -> None:
    """A float32 argument's NaN is one in the bfloat16 results, and in them alone, whatever its bits."""
    shape = (3, 8, *hw)
    input, grad_out = (
        torch.randn(shape).bfloat16().to(memory_format=memory_format) for _ in range(2)
    )
    arguments = {
        "mean": torch.zeros(3, 4),
        "rstd": torch.ones(3, 4),
        "weight": torch.ones(8),
        "bias": torch.ones(8),
    }
    poisoned = arguments[argument].view(torch.int32)
    want = torch.zeros(3, 8, dtype=torch.bool)
    if argument in ("mean", "rstd"):
        poisoned[1, 2] = bits
        want[1, 4:6] = True
    else:
        poisoned[3] = bits
        # Of a group's weights each is in all of its grad_input.
        want[:, 3 if argument == "bias" else 2 : 4] = True
    if argument == "bias":
        result = torch.ops.group_norm_grad.group_norm_forward(
            input, arguments["weight"], arguments["bias"], 3, 8, hw[0] * hw[1], 4, EPS
        )[0]
    else:
        result = torch.ops.group_norm_grad.group_norm_backward(
            grad_out,
            input,
            *(arguments[a] for a in ("mean", "rstd", "weight")),
            3,
            8,
            hw[0] * hw[1],
            4,
            [True, True, True],
        )[0]
    assert torch.equal(result.isnan(), want[:, :, None, None].expand(shape))


@pytest.mark.parametrize("batch", range(10))
def test_end_to_end(batch: int) -> None:
    """Random problems through the function's autograd, each for the inputs that its mask asks for."""
    ran = 0
    for seed in range(100_000 + 60 * batch, 100_000 + 60 * (batch + 1)):
        problem = random_problem(seed)
        data, _, affine = problem.dtypes
        n, c, s = sizes(problem.shape)
        if n * (c // problem.groups) * s == 1 or not any(problem.mask):
            continue
        grad_out, input, _, _, weight, bias = problem.tensors()
        inputs = [input, weight, bias]
        wanted = [t is not None and m for t, m in zip(inputs, problem.mask, strict=True)]
        for tensor, wants in zip(inputs, wanted, strict=True):
            if tensor is not None:
                tensor.requires_grad_(wants)
        if not any(wanted):
            continue
        output = group_norm_grad.group_norm(input, problem.groups, weight, bias, EPS)
        leaves = [t for t, wants in zip(inputs, wanted, strict=True) if wants and t is not None]
        got = iter(torch.autograd.grad(output, leaves, grad_out))
        plain = [None if t is None else t.detach() for t in inputs]
        _, mean, rstd = torch.ops.group_norm_grad.group_norm_forward(
            *plain, n, c, s, problem.groups, EPS
        )
        tensors = Tensors(grad_out, input.detach(), mean, rstd, plain[1], plain[2])
        for name, want, wants, leaf in zip(
            NAMES, exact(problem, tensors), wanted, inputs, strict=True
        ):
            if wants:
                assert leaf is not None
                grad = next(got)
                assert grad.dtype == leaf.dtype
                assert_within(grad, want, what=f"{name} of {problem}")
                ran += 1
    assert ran > 60
