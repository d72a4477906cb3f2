"""Mixed precision and global switches over every drop-in: autocast, GradScaler, default dtype, deterministic mode, dtypes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DROPINS,
    DropIn,
    device,
    dropin,
    feature,
    make_leaves,
)
from torch import Tensor, nn

GROUPS = 4
SHAPE = (2, 8, 3, 5)
F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16


def outcome(
    call: Callable[..., Tensor], tensors: tuple[Tensor | None, ...], autocast: torch.autocast | None
) -> list[object]:
    """The dtypes of the output and of the gradients, or the type of the error that was raised."""
    leaves = [t.detach().requires_grad_() if t is not None else None for t in tensors]
    x, weight, bias = leaves
    try:
        if autocast is None:
            output = call(x, GROUPS, weight, bias)
        else:
            with autocast:
                output = call(x, GROUPS, weight, bias)
    except (RuntimeError, NotImplementedError) as error:
        return [type(error).__name__]
    given = [t for t in leaves if t is not None]
    return [output.dtype, *(g.dtype for g in torch.autograd.grad(output.sum(), given))]


@feature("autocast exactly as F.group_norm")
@pytest.mark.parametrize("lower", [BF16, F16], ids=str)
@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
def test_autocast(enabled: bool, lower: torch.dtype, dropin: DropIn, device: str) -> None:
    """Every mix of input and weight dtypes inside an autocast region gives F.group_norm's dtypes, or its refusal."""
    x, w, b, _ = make_leaves(SHAPE, device, F32)
    seen = set()
    for input_dtype, weight_dtype, affine in itertools.product(
        (F32, F16, BF16), (F32, F16, BF16), (True, False)
    ):
        if device == "npu" and not enabled and input_dtype != weight_dtype:
            continue  # which mixtures CANN's own forward takes is not for the loopback device to say
        tensors = (
            x.to(input_dtype),
            w.to(weight_dtype) if affine else None,
            b.to(weight_dtype) if affine else None,
        )
        context = torch.autocast(device, lower, enabled=enabled)
        got, want = (outcome(f, tensors, context) for f in (dropin.call, F.group_norm))
        assert got == want, (input_dtype, weight_dtype, affine)
        seen.add(str(want))
    assert len(seen) >= 3, "float32 results, 16-bit results and mixed ones all occur"


@feature("autocast exactly as F.group_norm")
def test_autocast_of_a_model(dropin: DropIn, device: str) -> None:
    """A convolution gives 16 bits to the norm, whose parameters stay in float32; values close to the float32 model's."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), dropin.module(GROUPS, 8), nn.Conv2d(8, 4, 1)).to(
        device
    )
    x = torch.randn(4, 3, 8, 8, device=device)
    seen: list[torch.dtype] = []
    model[1].register_forward_hook(lambda m, args, out: seen.extend((args[0].dtype, out.dtype)))
    with torch.autocast(device, BF16):
        loss = model(x).float().square().mean()
    loss.backward()
    got = [p.grad.clone() for p in model.parameters()]
    # F.group_norm is on torch_npu's list for float32, and on none of the CPU's.
    assert seen == [BF16, F32 if device == "npu" else BF16]
    assert all(g.dtype == F32 for g in got)
    model.zero_grad()
    model(x).square().mean().backward()
    for g, p in zip(got, model.parameters(), strict=True):
        error, size = (t.cpu().norm() for t in (g - p.grad, p.grad))
        assert error <= 0.03 * size + 1e-3
    nested: list[torch.dtype] = []
    with torch.autocast(device, BF16), torch.autocast(device, enabled=False):
        nested.append(dropin.call(torch.ones(2, 8, 4, device=device), GROUPS).dtype)
    assert nested == [F32]


@pytest.mark.feature(
    "mixed dtype: 16-bit input, float32 weight",
    not_applicable={"enabled/npu": "torch_npu's forward is not ours, nor what it refuses"},
)
@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_mixed_dtypes(dtype: torch.dtype, dropin: DropIn, device: str) -> None:
    x, w, b, upstream = make_leaves(SHAPE, device, dtype, F32)
    output = dropin.call(x, GROUPS, w, b)
    grads = torch.autograd.grad(output, (x, w, b), upstream)
    assert [t.dtype for t in (output, *grads)] == [dtype, dtype, F32, F32]
    wide = [t.detach().double().cpu().requires_grad_() for t in (x, w, b)]
    want = F.group_norm(wide[0], GROUPS, *wide[1:])
    want_grads = torch.autograd.grad(want, wide, upstream.double().cpu())
    for got, expected in zip((output, *grads), (want, *want_grads), strict=True):
        tolerance = 1e-4 if got.dtype == F32 else 2e-2
        torch.testing.assert_close(got.double().cpu(), expected, rtol=tolerance, atol=tolerance)
    for wrong in ((F32, dtype), (dtype, F64), (F64, F32)):
        pair = (x.cpu().to(wrong[0]), w.cpu().to(wrong[1]), b.cpu().to(wrong[1]))
        assert (
            outcome(dropin.call, pair, None)[0]
            == outcome(F.group_norm, pair, None)[0]
            == "RuntimeError"
        )


@pytest.mark.feature(
    "GradScaler",
    not_applicable={
        f"{name}/npu": "the loopback device has not the scaler's operators" for name in DROPINS
    },
)
def test_grad_scaler(dropin: DropIn, device: str) -> None:
    """Scaled float16 training steps; an overflow skips the step, halves the scale, and leaves the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), dropin.module(GROUPS, 8), nn.Linear(8, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, foreach=False)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10, growth_interval=1000)
    x, target = torch.randn(32, 6, device=device), torch.randn(32, 1, device=device)
    losses = []
    for step in range(12):
        optimizer.zero_grad()
        with torch.autocast(device, F16):
            loss = (model(x).float() - target).square().mean()
        before = model[1].weight.detach().clone()
        factor = float("inf") if step == 6 else 1.0
        scaler.scale(loss * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss))
        assert torch.equal(before, model[1].weight) is (step == 6)
        assert scaler.get_scale() == (2.0**10 if step < 6 else 2.0**9)
    assert losses[-1] < losses[0]


def gradients(call: Callable[..., Tensor], device: str) -> tuple[Tensor, ...]:
    x, w, b, upstream = make_leaves((3, 8, 17, 5), device, F32)
    output = call(x, GROUPS, w, b)
    return output, *torch.autograd.grad(output, (x, w, b), upstream)


@feature("deterministic-algorithms mode: no error, nothing changes")
def test_deterministic_mode(dropin: DropIn, device: str) -> None:
    want = gradients(dropin.call, device)
    for warn_only in (False, True):
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
        try:
            got = gradients(dropin.call, device)
            second = torch.func.hessian(lambda x: dropin.call(x, 2).square().sum())(
                torch.rand(1, 4, 2, device=device)
            )
        finally:
            torch.use_deterministic_algorithms(False)
        assert all(map(torch.equal, got, want))
        assert second.isfinite().all()


@feature("torch.set_default_dtype and set_default_device")
def test_defaults(dropin: DropIn, device: str) -> None:
    """Process-wide defaults change nothing for tensors that have a dtype and a device."""
    want = gradients(dropin.call, device)
    x, w, b, upstream = make_leaves(SHAPE, device, BF16)
    want16 = dropin.call(x, GROUPS), dropin.call(x, GROUPS, w, b)
    for default in (F64, F16, BF16):
        torch.set_default_dtype(default)
        try:
            assert all(map(torch.equal, gradients(dropin.call, device), want))
            assert all(
                map(torch.equal, (dropin.call(x, GROUPS), dropin.call(x, GROUPS, w, b)), want16)
            )
            assert dropin.module(GROUPS, 8).weight.dtype == default
        finally:
            torch.set_default_dtype(F32)
    with torch.device("meta"):
        # What autograd makes by itself takes its device from the tensors too.
        assert torch.equal(dropin.call(x, GROUPS), want16[0])
        assert dropin.module(GROUPS, 8).weight.is_meta
    (grad,) = torch.autograd.grad(want16[1], x, upstream)
    assert grad.dtype == BF16


REFUSED = [
    torch.complex64,
    torch.complex32,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int32,
    torch.int8,
    torch.bool,
]


@pytest.mark.feature(
    "float8, complex and integer inputs refused as by ATen",
    not_applicable={"enabled/npu": "torch_npu's forward is not ours, nor what it refuses"},
)
@pytest.mark.parametrize("dtype", REFUSED, ids=str)
def test_refused_dtypes(dtype: torch.dtype, dropin: DropIn, device: str) -> None:
    x = torch.zeros(2, 8, 3, dtype=dtype)
    errors: list[Any] = []
    for function, input in ((dropin.call, x.to(device)), (F.group_norm, x)):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)) as caught:
            function(input, GROUPS)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]), errors
    name = str(dtype).removeprefix("torch.")
    scalar_names = {
        "complex64": "ComplexFloat",
        "complex32": "ComplexHalf",
        "int32": "Int",
        "int8": "Char",
    }
    assert scalar_names.get(name, name).lower() in str(errors[0]).lower(), errors[0]
    assert "not implemented for" in str(errors[0])


@feature("optimizers with reduced-precision state")
def test_bfloat16_module_trains(dropin: DropIn, device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), dropin.module(GROUPS, 8), nn.Linear(8, 1)).to(
        device, BF16
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, foreach=False)
    x = torch.randn(64, 6, device=device, dtype=BF16)
    target = x.sum(1, keepdim=True)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(x) - target).float().square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0], losses
    assert model[1].weight.dtype == BF16
