"""Derivatives of every order and every transform, against finite differences and against F.group_norm in float64;
the accuracy of the kernel itself is in test_numerics.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from cases import ALL, BF16, F32, F64, MASKS, DTypes, Problem, sizes
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

import group_norm_grad

OPS = torch.ops.group_norm_grad
DOUBLE = DTypes(F64, F64, F64)
GroupNorm = Callable[..., Tensor]


def by_class(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    output: Tensor = group_norm_grad.GroupNormFunction.apply(input, num_groups, weight, bias, eps)[
        0
    ]
    return output


def by_override(*args: object, **kwargs: object) -> Tensor:
    with group_norm_grad.enabled():
        return F.group_norm(*args, **kwargs)  # type: ignore[arg-type]


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


@way
@pytest.mark.parametrize("affine", [True, False])
def test_per_sample_gradients(group_norm: GroupNorm, affine: bool) -> None:
    """vmap(grad): the gradients of each sample, as differential privacy needs them."""
    x, weight, bias, upstream = leaves((5, 6, 3, 2), 3)

    def loss(w: Tensor, b: Tensor, sample: Tensor, up: Tensor) -> Tensor:
        w_or_none, b_or_none = (w, b) if affine else (None, None)
        output = group_norm(sample[None], 3, w_or_none, b_or_none, 1e-2)
        return (output * up).sum() + (w.sum() + b.sum()) * 0

    got = vmap(grad(loss, argnums=(0, 1, 2)), (None, None, 0, 0))(weight, bias, x, upstream)
    for i in range(len(x)):
        leaf = [t.clone().requires_grad_() for t in (weight, bias, x[i])]
        w, b = (leaf[0], leaf[1]) if affine else (None, None)
        output = F.group_norm(leaf[2][None], 3, w, b, 1e-2)
        ((output * upstream[i]).sum() + (leaf[0].sum() + leaf[1].sum()) * 0).backward()
        for g, expected in zip(got, leaf, strict=True):
            torch.testing.assert_close(g[i], expected.grad)


@way
def test_per_sample_gradients_of_a_model(group_norm: GroupNorm) -> None:
    class Norm(nn.GroupNorm):
        def forward(self, input: Tensor) -> Tensor:
            return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), Norm(3, 6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    model = model.double()
    images, labels = torch.randn(7, 2, 5, 5, dtype=F64), torch.randint(4, (7,))
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, params, (image[None],)), label[None])

    got = vmap(grad(loss), (None, 0, 0))(parameters, images, labels)
    for i in range(len(images)):
        model.zero_grad()
        F.cross_entropy(model(images[i : i + 1]), labels[i : i + 1]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(got[name][i], parameter.grad)


@way
def test_vmap_over_every_mix_of_mapped_arguments(group_norm: GroupNorm) -> None:
    """Forward and gradients with any of input, weight and bias mapped, at any dimension, nested once more at the end."""
    batch = 3
    x, weight, bias, upstream = leaves((2, 6, 4), 3)
    stacked = [
        torch.stack([t * (i + 1) - i for i in range(batch)], dim)
        for t, dim in ((x, 1), (weight, -1), (bias, 0))
    ]
    plain = [x, weight, bias]

    def run(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        pulled = vjp(lambda *args: group_norm(args[0], 3, *args[1:], 1e-2), x, w, b)
        return pulled[0], *pulled[1](upstream)

    def want(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        inputs = [t.detach().requires_grad_() for t in (x, w, b)]
        output = F.group_norm(inputs[0], 3, inputs[1], inputs[2], 1e-2)
        return output, *torch.autograd.grad(output, inputs, upstream)

    for mapped in itertools.product((True, False), repeat=3):
        if not any(mapped):
            continue
        dims = [dim if m else None for dim, m in zip((1, -1, 0), mapped, strict=True)]
        given = [s if m else p for s, p, m in zip(stacked, plain, mapped, strict=True)]
        got = vmap(run, tuple(dims))(*given)
        for i in range(batch):
            slices = [
                t.select(dim, i) if dim is not None else t
                for t, dim in zip(given, dims, strict=True)
            ]
            for g, expected in zip(got, want(*slices), strict=True):
                torch.testing.assert_close(g[i], expected)
    nested = vmap(vmap(run, (1, None, 0)), (None, -1, None))(*stacked)
    for i, j in itertools.product(range(batch), repeat=2):
        for g, expected in zip(
            nested,
            want(stacked[0].select(1, j), stacked[1].select(-1, i), stacked[2][j]),
            strict=True,
        ):
            torch.testing.assert_close(g[i, j], expected)


@way
def test_func_transforms(group_norm: GroupNorm) -> None:
    """jvp, jacrev and hessian (forward over reverse) against F.group_norm."""
    x, weight, bias, upstream = leaves((2, 4, 3), 2)
    tangents = tuple(torch.randn_like(t) for t in (x, weight, bias))

    def call(function: GroupNorm) -> Callable[..., Tensor]:
        return lambda *args: function(args[0], 2, *args[1:], 1e-2)

    def loss(function: GroupNorm) -> Callable[..., Tensor]:
        return lambda *args: (call(function)(*args) * upstream).square().sum()

    for transform in (
        lambda f: jvp(call(f), (x, weight, bias), tangents),
        lambda f: jacrev(call(f), argnums=(0, 1, 2))(x, weight, bias),
        lambda f: hessian(loss(f), argnums=(0, 1))(x, weight, bias),
    ):
        torch.testing.assert_close(transform(group_norm), transform(F.group_norm))


@way
def test_an_upstream_gradient_of_zero_strides(group_norm: GroupNorm) -> None:
    """output.sum() sends back one expanded value."""
    x, weight, bias, _ = leaves((2, 8, 3, 5), 4)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    got = torch.autograd.grad(group_norm(x, 4, weight, bias).sum(), inputs)
    want = torch.autograd.grad(F.group_norm(x, 4, weight, bias).sum(), inputs)
    torch.testing.assert_close(got, want)


@way
def test_accumulation_retained_graphs_and_hooks(group_norm: GroupNorm) -> None:
    x, weight, bias, upstream = leaves((2, 8, 3), 4)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    seen: list[Tensor] = []
    output = group_norm(x, 4, weight, bias)
    output.register_hook(seen.append)
    output.backward(upstream, retain_graph=True)
    first = [t.grad.clone() for t in inputs if t.grad is not None]
    output.backward(upstream)
    assert len(seen) == 2 and torch.equal(seen[0], upstream)
    for t, once in zip(inputs, first, strict=True):
        assert t.grad is not None and torch.equal(t.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        output.backward(upstream)


@way
def test_an_input_changed_in_place_is_refused(group_norm: GroupNorm) -> None:
    """The input is saved, not copied: autograd's version check has to notice that it changed."""
    for changed in (0, 1):
        tensors = [t.requires_grad_() for t in leaves((2, 8, 3), 4)[:3]]
        held = [t * 1 for t in tensors]
        output = group_norm(held[0], 4, held[1], held[2])
        held[changed].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


@way
def test_checkpointing_and_saved_tensor_hooks(group_norm: GroupNorm) -> None:
    x, weight, bias, upstream = leaves((2, 8, 3), 4)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    want = torch.autograd.grad(group_norm(x, 4, weight, bias), inputs, upstream)
    output = checkpoint(group_norm, x, 4, weight, bias, use_reentrant=False)
    assert all(map(torch.equal, torch.autograd.grad(output, inputs, upstream), want))
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor)
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, packed.__getitem__):
        output = group_norm(x, 4, weight, bias)
    assert all(map(torch.equal, torch.autograd.grad(output, inputs, upstream), want))
    # What is kept for the backward: input, weight and two statistics; no copy of the input, and not the output.
    assert sum(t.numel() for t in packed) == x.numel() + weight.numel() + 2 * 2 * 4


@way
def test_no_graph_without_gradients(group_norm: GroupNorm) -> None:
    x, weight, bias, _ = leaves((2, 8, 3), 4)
    assert group_norm(x, 4, weight, bias).grad_fn is None
    with torch.no_grad():
        assert not group_norm(x.requires_grad_(), 4, weight, bias).requires_grad
    with torch.inference_mode():
        assert group_norm(x, 4, weight, bias).is_inference()


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


@pytest.mark.parametrize("input_dtype", [F32, BF16], ids=str)
@pytest.mark.parametrize("weight_dtype", [F32, BF16], ids=str)
@way
def test_autocast_is_that_of_pytorch(
    group_norm: GroupNorm, weight_dtype: torch.dtype, input_dtype: torch.dtype
) -> None:
    """Under autocast the same dtypes come out of ours and of F.group_norm, and the same pairs are refused."""
    x = torch.randn(2, 8, 3, 3, dtype=input_dtype, requires_grad=True)
    w, b = (torch.rand(8, dtype=weight_dtype, requires_grad=True) for _ in range(2))
    outcomes = []
    for function in (group_norm, F.group_norm):
        with torch.autocast("cpu", BF16):
            try:
                output = function(x, 4, w, b)
            except RuntimeError:
                outcomes.append("refused")
                continue
        grads = torch.autograd.grad(output.float().sum(), (x, w, b))
        outcomes.append(str([output.dtype, *(g.dtype for g in grads)]))
    assert outcomes[0] == outcomes[1]


def test_compiled_graphs_agree_with_eager() -> None:
    """aot_eager traces forward and backward through our schemas and meta functions, with dynamic shapes as well."""
    for dynamic in (False, True):
        torch.compiler.reset()

        def block(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return torch.relu(group_norm_grad.group_norm(x * 2, 4, w, b)) + x

        compiled = torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=dynamic)
        for shape in ((2, 8, 3, 5), (3, 8, 4, 4)):
            x, weight, bias, upstream = leaves(shape, 4, "channels_last")
            inputs = [t.requires_grad_() for t in (x, weight, bias)]
            got = torch.autograd.grad(compiled(*inputs), inputs, upstream)
            want = torch.autograd.grad(block(*inputs), inputs, upstream)
            torch.testing.assert_close(got, want)


def test_fake_tensors_have_the_strides_of_real_ones() -> None:
    for shape, layout in (
        ((2, 8, 3, 5), "channels_last"),
        ((2, 8, 3), "transposed"),
        ((3, 8), "sliced"),
    ):
        problem = Problem(shape, 4, input_layout=layout, grad_layout="contiguous")
        n, c, s = sizes(shape)
        grad_out, input, mean, rstd, weight, bias = problem.tensors()
        with torch._subclasses.FakeTensorMode() as mode:
            fakes = [mode.from_tensor(t) for t in problem.tensors() if t is not None]
        calls = (
            lambda t: OPS.group_norm_forward(t[1], t[4], t[5], n, c, s, 4, 1e-5),
            lambda t: OPS.group_norm_backward(*t[:5], n, c, s, 4, ALL),
        )
        for call in calls:
            real = call([grad_out, input, mean, rstd, weight, bias])
            fake = call(fakes)
            for r, f in zip(real, fake, strict=True):
                assert (r.shape, r.stride(), r.dtype) == (f.shape, f.stride(), f.dtype), problem
