"""What programs do with autograd, over every drop-in: double backward, forward mode, checkpointing, hooks, refused misuse.

Bounds on accuracy are in test_numerics; torch.func is in test_transforms.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import pytest
import torch
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DropIn,
    assert_agree,
    device,
    double_on,
    dropin,
    feature,
    make_leaves,
    plain_group_norm,
)
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

GROUPS = 2
SHAPE = (2, 4, 3)
SUBSETS = [mask for mask in itertools.product((True, False), repeat=3) if any(mask)]


def leaves_on(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return make_leaves(SHAPE, device, double_on(device))


def channels_last(tensor: Tensor) -> Tensor:
    """The tensor with these strides; torch_npu has no memory formats, but takes any strides."""
    return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def gradients(call: Callable[..., Tensor], device: str) -> tuple[Tensor, ...]:
    x, weight, bias, upstream = leaves_on(device)
    return torch.autograd.grad(call(x, GROUPS, weight, bias, 1e-2), (x, weight, bias), upstream)


@feature("gradcheck and gradgradcheck for every subset that requires grad")
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_gradgradcheck(subset: tuple[bool, ...], dropin: DropIn) -> None:
    leaves = make_leaves(SHAPE)[:3]
    for leaf, wants in zip(leaves, subset, strict=True):
        leaf.requires_grad_(wants)

    def call(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return dropin.call(x, GROUPS, w, b, 1e-2)

    assert gradcheck(call, leaves, check_forward_ad=True, check_batched_grad=True)
    assert gradcheck(call, leaves, check_batched_forward_grad=True, check_forward_ad=True)
    assert gradgradcheck(call, leaves, check_fwd_over_rev=True, check_rev_over_rev=True)


@feature("double backward")
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_double_backward(subset: tuple[bool, ...], dropin: DropIn, device: str) -> None:
    """A gradient penalty on any subset of the first gradients, differentiated with respect to everything."""

    def penalty(call: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        x, weight, bias, upstream = leaves_on(device)
        upstream.requires_grad_()
        output = call(x, GROUPS, weight, bias, 1e-2)
        wanted = [t for t, wants in zip((x, weight, bias), subset, strict=True) if wants]
        first = torch.autograd.grad(output, wanted, upstream, create_graph=True)
        loss = sum((g.square().sum() for g in first), output.square().sum())
        return torch.autograd.grad(loss, (x, weight, bias, upstream))

    assert_agree(penalty(dropin.call), penalty(plain_group_norm), device)


@feature("third derivatives")
def test_third_derivatives(dropin: DropIn, device: str) -> None:
    def third(call: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        leaves = leaves_on(device)[:3]
        value = call(leaves[0], GROUPS, *leaves[1:], 1e-1).sin().sum()
        for _ in range(2):
            grads = torch.autograd.grad(value, leaves, create_graph=True)
            value = sum(g.square().sum() for g in grads)  # type: ignore[assignment]
        return torch.autograd.grad(value, leaves)

    got, want = third(dropin.call), third(plain_group_norm)
    scale = max(float(t.abs().max()) for t in want)
    assert_agree([t / scale for t in got], [t / scale for t in want], device)


@feature("forward-mode AD")
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_forward_mode(subset: tuple[bool, ...], dropin: DropIn, device: str) -> None:
    """Dual tensors for any subset of the arguments, through the forward and through its backward."""

    def tangents(call: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        leaves = leaves_on(device)
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(t, t.detach().cos()) if dual else t
                for t, dual in zip(leaves, subset, strict=False)
            ]
            output = call(duals[0], GROUPS, *duals[1:], 1e-2)
            grads = torch.autograd.grad(output, leaves[:2], leaves[3], create_graph=True)
            duals_out = [forward_ad.unpack_dual(t).tangent for t in (output, *grads)]
            # grad_input and grad_weight do not depend on bias: no tangent is a zero one.
            return tuple(torch.zeros(1) if t is None else t for t in duals_out)

    assert_agree(tangents(dropin.call), tangents(plain_group_norm), device)


@feature("create_graph and retain_graph")
def test_retained_graphs(dropin: DropIn, device: str) -> None:
    x, weight, bias, upstream = leaves_on(device)
    output = dropin.call(x, GROUPS, weight, bias)
    output.backward(upstream, retain_graph=True)
    once = [t.grad.clone() for t in (x, weight, bias) if t.grad is not None]
    output.backward(upstream, create_graph=True)
    assert x.grad is not None and x.grad.grad_fn is not None
    for leaf, grad in zip((x, weight, bias), once, strict=True):
        assert_agree(leaf.grad, 2 * grad, device)
        leaf.grad = None  # breaks the cycle that create_graph makes
    output.backward(upstream)
    with pytest.raises(RuntimeError, match="second time"):
        output.backward(upstream)


@feature("checkpoint, reentrant and not")
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint(use_reentrant: bool, dropin: DropIn, device: str) -> None:
    want = gradients(dropin.call, device)

    def checkpointed(*args: object) -> Tensor:
        result: Tensor = checkpoint(dropin.call, *args, use_reentrant=use_reentrant)
        return result

    x, weight, bias, upstream = leaves_on(device)
    checkpointed(x, GROUPS, weight, bias, 1e-2).backward(upstream)
    for leaf, grad in zip((x, weight, bias), want, strict=True):
        assert torch.equal(leaf.grad, grad)  # type: ignore[arg-type]
    model = nn.Sequential(*[dropin.module(GROUPS, 4) for _ in range(4)]).to(device)
    inputs = torch.randn(SHAPE, device=device, requires_grad=True)
    weights = torch.arange(4.0, device=device).reshape(1, 4, 1)
    (model(inputs) * weights).square().sum().backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    sequential = checkpoint_sequential(model, 2, inputs, use_reentrant=use_reentrant)
    (sequential * weights).square().sum().backward()
    for parameter, grad in zip(model.parameters(), plain, strict=True):
        assert torch.equal(parameter.grad, grad)  # type: ignore[arg-type]


@feature("saved_tensors_hooks")
def test_saved_tensors_hooks(dropin: DropIn, device: str) -> None:
    want = gradients(dropin.call, device)
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor.clone())
        return len(packed) - 1

    def gradients_with(hooks: torch.autograd.graph.saved_tensors_hooks) -> tuple[Tensor, ...]:
        x, weight, bias, upstream = leaves_on(device)
        with hooks:
            output = dropin.call(x, GROUPS, weight, bias, 1e-2)
        return torch.autograd.grad(output, (x, weight, bias), upstream)

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, packed.__getitem__)
    assert all(map(torch.equal, gradients_with(hooks), want))
    # Kept for the backward: input, weight and two statistics of N*groups values; neither a copy nor the output.
    assert sorted(t.numel() for t in packed) == [4, 4, 4, 24]
    assert all(map(torch.equal, gradients_with(torch.autograd.graph.save_on_cpu()), want))
    doubled = torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t * 2)
    assert not torch.equal(gradients_with(doubled)[0], want[0]), (
        "the backward reads the unpacked tensors"
    )
    with (
        torch.autograd.graph.disable_saved_tensors_hooks("no hooks here"),
        pytest.raises(RuntimeError, match="no hooks here"),
        hooks,
    ):
        pass


@feature("in-place changes of saved tensors detected")
@pytest.mark.parametrize("changed", [0, 1], ids=["input", "weight"])
def test_in_place_changes_are_refused(changed: int, dropin: DropIn, device: str) -> None:
    x, weight, bias, _ = leaves_on(device)
    held = [x * 1, weight * 1, bias * 1]
    output = dropin.call(held[0], GROUPS, *held[1:])
    held[changed].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
    held = [x * 1, weight * 1, bias * 1]
    output = dropin.call(held[0], GROUPS, *held[1:])
    held[2].add_(1)  # bias is not saved, and the output may change too
    output.mul_(2).sum().backward()


@feature("anomaly mode")
def test_anomaly_mode(dropin: DropIn, device: str) -> None:
    x, weight, bias, upstream = leaves_on(device)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with torch.autograd.detect_anomaly(check_nan=True):
            output = dropin.call(x, GROUPS, weight, bias, 1e-2)
            torch.autograd.grad(output, x, upstream, retain_graph=True)
            with pytest.raises(RuntimeError, match="GroupNormBackward.*returned nan values"):
                torch.autograd.grad(output, x, upstream * float("nan"))
    text = "".join(str(w.message) for w in seen)
    assert "Traceback of forward call that caused the error" in text
    assert "in test_anomaly_mode" in text


@feature("hooks on tensors, graph nodes and modules")
def test_hooks(dropin: DropIn, device: str) -> None:
    x, weight, bias, upstream = leaves_on(device)
    want = gradients(dropin.call, device)
    seen: dict[str, Tensor] = {}
    output = dropin.call(x, GROUPS, weight, bias, 1e-2)
    output.retain_grad()
    node = output.grad_fn
    assert node is not None and "GroupNormBackward" in node.name()
    assert len(node.next_functions) == 3
    node.register_prehook(lambda grads: seen.update(pre=grads[0]))
    node.register_hook(lambda into, _: (into[0] * 3, *into[1:]))
    output.register_hook(lambda grad: seen.update(tensor=grad))
    weight.register_post_accumulate_grad_hook(lambda t: seen.update(accumulated=t.grad))
    output.backward(upstream)
    assert torch.equal(output.grad, upstream)  # type: ignore[arg-type]
    assert torch.equal(seen["pre"], upstream) and torch.equal(seen["tensor"], upstream)
    assert torch.equal(seen["accumulated"], want[1])
    assert torch.equal(x.grad, want[0] * 3)  # type: ignore[arg-type]

    module = dropin.module(GROUPS, 4, device=device)
    order: list[str] = []
    module.register_forward_pre_hook(lambda *_: order.append("forward pre"))
    module.register_forward_hook(lambda *_: order.append("forward"))
    module.register_full_backward_pre_hook(lambda *_: order.append("backward pre"))
    module.register_full_backward_hook(lambda *_: order.append("backward"))
    module(torch.randn(SHAPE, device=device, requires_grad=True)).sum().backward()
    assert order == ["forward pre", "forward", "backward pre", "backward"]


@feature("requires_grad_ combinations")
@pytest.mark.parametrize("subset", [*SUBSETS, (False, False, False)], ids=str)
def test_only_what_is_asked_for_is_computed(
    subset: tuple[bool, ...], dropin: DropIn, device: str
) -> None:
    """Frozen arguments get no gradient, the others the usual one; nothing at all makes no graph."""
    want = gradients(dropin.call, device)
    x, weight, bias, upstream = leaves_on(device)
    leaves = (x, weight, bias)
    for leaf, wants in zip(leaves, subset, strict=True):
        leaf.requires_grad_(wants)
    output = dropin.call(x, GROUPS, weight, bias, 1e-2)
    assert output.requires_grad is any(subset)
    if not any(subset):
        assert output.grad_fn is None
        return
    output.backward(upstream)
    for leaf, wants, grad in zip(leaves, subset, want, strict=True):
        assert (leaf.grad is not None) is wants
        if wants:
            assert_agree(leaf.grad, grad, device)


@feature("frozen channels_last input (ATen's kernel writes through a null pointer)")
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_frozen_channels_last_input(subset: tuple[bool, ...], dropin: DropIn, device: str) -> None:
    """The first norm of a network, or one behind frozen layers, wants no gradient of its input."""
    shape = (4, 16, 16, 16)
    x, weight, bias, upstream = make_leaves(shape, device, double_on(device))
    leaves = [
        channels_last(x.detach()).requires_grad_(subset[0]),
        weight.requires_grad_(subset[1]),
        bias.requires_grad_(subset[2]),
    ]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    got = torch.autograd.grad(dropin.call(leaves[0], 4, *leaves[1:], 1e-2), wanted, upstream)
    want = torch.autograd.grad(plain_group_norm(leaves[0], 4, *leaves[1:], 1e-2), wanted, upstream)
    assert_agree(got, want, device)


@feature("no_grad and inference_mode")
def test_no_graph_is_made(dropin: DropIn, device: str) -> None:
    x, weight, bias, _ = leaves_on(device)
    want = dropin.call(x, GROUPS, weight, bias).detach()
    with torch.no_grad():
        output = dropin.call(x, GROUPS, weight, bias)
    assert output.grad_fn is None and not output.requires_grad and torch.equal(output, want)
    with torch.inference_mode():
        output = dropin.call(x, GROUPS, weight, bias)
        assert output.is_inference() and torch.equal(output, want)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
        dropin.call(output, GROUPS, weight, bias)


@feature("an upstream gradient that is undefined, zero-strided or of another layout")
def test_odd_upstream_gradients(dropin: DropIn, device: str) -> None:
    x, weight, bias, _ = make_leaves((2, 4, 3, 5), device, double_on(device))

    def run(call: Callable[..., Tensor], upstream: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(call(x, GROUPS, weight, bias, 1e-2), (x, weight, bias), upstream)

    base = torch.randn(2, 4, 3, 5, device=device, dtype=x.dtype)
    for upstream in (
        base[:1, :1, :1, :1].expand(2, 4, 3, 5),
        channels_last(base),
        base.transpose(0, 1).contiguous().transpose(0, 1),
        base.flip(3),
    ):
        assert_agree(run(dropin.call, upstream), run(plain_group_norm, upstream), device)

    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> None:  # type: ignore[override]
            return None

    output = Cut.apply(dropin.call(x, GROUPS, weight, bias))
    grads = torch.autograd.grad(output.sum(), (x, weight, bias), allow_unused=True)
    assert all(grad is None or not grad.any() for grad in grads)
