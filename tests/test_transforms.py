"""torch.func over every drop-in: each transform, alone and two deep, against a group norm written in elementary operations.

Gradients by autograd alone are in test_autograd and test_citizen_autograd.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DropIn,
    GroupNormCall,
    assert_agree,
    device,
    double_on,
    dropin,
    feature,
    feature_of_operators,
    make_leaves,
    operators_in,
    plain_group_norm,
)
from torch import Tensor, nn
from torch.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)

import group_norm_grad

OPS = torch.ops.group_norm_grad
GROUPS = 3
SHAPE = (2, 6, 4)
Inputs = tuple[Tensor, Tensor, Tensor]
Transform = Callable[[GroupNormCall, Inputs, Tensor], object]


def inputs_on(device: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Inputs, Tensor]:
    x, weight, bias, upstream = make_leaves(shape, device, double_on(device), seed=seed)
    return (x.detach(), weight.detach(), bias.detach()), upstream


def with_groups(call: GroupNormCall) -> Callable[..., Tensor]:
    return lambda x, w, b: call(x, GROUPS, w, b, 1e-2)


def loss_of(call: GroupNormCall, upstream: Tensor) -> Callable[..., Tensor]:
    """A scalar that is not linear in the output, so that second derivatives see every term."""
    return lambda x, w, b: (call(x, GROUPS, w, b, 1e-2) * upstream).square().sum()


ALL_ARGS = (0, 1, 2)
TRANSFORMS: dict[str, Transform] = {
    "grad": lambda f, args, up: grad(loss_of(f, up), ALL_ARGS)(*args),
    "grad_and_value": lambda f, args, up: grad_and_value(loss_of(f, up), ALL_ARGS)(*args),
    "vjp": lambda f, args, up: vjp(with_groups(f), *args)[1](up),
    "jvp": lambda f, args, up: jvp(with_groups(f), args, tuple(t.cos() for t in args)),
    "linearize": lambda f, args, up: linearize(with_groups(f), *args)[1](*[t.cos() for t in args]),
    "jacrev": lambda f, args, up: jacrev(with_groups(f), ALL_ARGS)(*args),
    "jacfwd": lambda f, args, up: jacfwd(with_groups(f), ALL_ARGS)(*args),
    "hessian": lambda f, args, up: hessian(loss_of(f, up), ALL_ARGS)(*args),
    "jacrev of grad": lambda f, args, up: jacrev(grad(loss_of(f, up), ALL_ARGS), ALL_ARGS)(*args),
    "jacfwd of jacfwd": lambda f, args, up: jacfwd(jacfwd(loss_of(f, up), 0), ALL_ARGS)(*args),
    "grad of grad": lambda f, args, up: grad(
        lambda *a: sum(g.square().sum() for g in grad(loss_of(f, up), ALL_ARGS)(*a)), ALL_ARGS
    )(*args),
    "jvp of grad": lambda f, args, up: jvp(
        grad(loss_of(f, up), ALL_ARGS), args, tuple(t.sin() for t in args)
    ),
    "grad of jvp": lambda f, args, up: grad(
        lambda *a: jvp(with_groups(f), a, tuple(t.sin() for t in args))[1].square().sum(), ALL_ARGS
    )(*args),
    "jvp of jvp": lambda f, args, up: jvp(
        lambda *a: jvp(with_groups(f), a, tuple(t.sin() for t in args))[1],
        args,
        tuple(t.cos() for t in args),
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=feature(n), id=n.replace(" ", "_")) for n in TRANSFORMS],
)
def test_transform(name: str, dropin: DropIn, device: str) -> None:
    args, upstream = inputs_on(device)
    got = TRANSFORMS[name](dropin.call, args, upstream)
    want = TRANSFORMS[name](plain_group_norm, args, upstream)
    assert_agree(got, want, device)


MAPPED = [mask for mask in itertools.product((True, False), repeat=3) if any(mask)]
MAPPED_NAMES = {
    (True, False, False): "vmap over input",
    (False, True, False): "vmap over weight",
    (True, True, False): "vmap over input and weight",
}


@pytest.mark.parametrize(
    "mapped",
    [
        pytest.param(
            mask,
            marks=feature(MAPPED_NAMES.get(mask, "vmap over other mixes of input, weight, bias")),
            id="".join(letter for letter, m in zip("xwb", mask, strict=True) if m),
        )
        for mask in MAPPED
    ],
)
@pytest.mark.parametrize("out_dim", [0, 1])
def test_vmap(mapped: tuple[bool, ...], out_dim: int, dropin: DropIn, device: str) -> None:
    """Value and gradients with any of the three mapped, at in_dims that are not 0, and out_dims 0 and 1.

    The upstream gradient is always mapped: PyTorch cannot give out_dims to a result that no mapped tensor enters.
    """
    batch = 3
    plain, upstream = inputs_on(device)
    upstreams = torch.stack([upstream * (i + 1) for i in range(batch)])
    stacks = [inputs_on(device, seed=i + 1)[0] for i in range(batch)]
    dims = (1, -1, 0)
    in_dims = tuple(d if m else None for d, m in zip(dims, mapped, strict=True))
    given = [
        torch.stack([s[i] for s in stacks], in_dims[i]) if in_dims[i] is not None else plain[i]
        for i in range(3)
    ]

    def run(call: GroupNormCall) -> Callable[..., tuple[Tensor, ...]]:
        def one(x: Tensor, w: Tensor, b: Tensor, up: Tensor) -> tuple[Tensor, ...]:
            output, pull = vjp(with_groups(call), x, w, b)
            return output, *pull(up)

        return one

    got = vmap(run(dropin.call), (*in_dims, 0), out_dims=out_dim)(*given, upstreams)
    for i in range(batch):
        args = [stacks[i][j] if mapped[j] else plain[j] for j in range(3)]
        want = run(plain_group_norm)(*args, upstreams[i])
        assert_agree(tuple(g.select(out_dim, i) for g in got), want, device)


@feature("vmap with chunk_size and randomness options")
def test_vmap_in_chunks(dropin: DropIn, device: str) -> None:
    (_, weight, bias), _ = inputs_on(device)
    batch = torch.stack([inputs_on(device, seed=i)[0][0] for i in range(5)])

    def one(x: Tensor) -> Tensor:
        return grad(lambda x: dropin.call(x, GROUPS, weight, bias, 1e-2).square().sum())(x)

    want = torch.stack([one(x) for x in batch])
    for chunk in (1, 2, 5, 7):
        assert_agree(vmap(one, chunk_size=chunk, randomness="same")(batch), want, device)


@feature("nested vmap")
def test_nested_vmap(dropin: DropIn, device: str) -> None:
    """Two levels, one over input and bias and one over weight, of values and gradients."""
    xs = torch.stack([inputs_on(device, seed=i)[0][0] for i in range(2)])
    weights = torch.stack([inputs_on(device, seed=i)[0][1] for i in range(3)])
    biases = torch.stack([inputs_on(device, seed=i)[0][2] for i in range(2)])
    upstream = inputs_on(device)[1]

    def run(call: GroupNormCall) -> Callable[..., tuple[Tensor, ...]]:
        return grad(loss_of(call, upstream), ALL_ARGS)  # type: ignore[no-any-return]

    nested = vmap(vmap(run(dropin.call), (None, 0, None)), (0, None, 0))(xs, weights, biases)
    for i, j in itertools.product(range(2), range(3)):
        want = run(plain_group_norm)(xs[i], weights[j], biases[i])
        assert_agree(tuple(g[i, j] for g in nested), want, device)


class Model(nn.Module):
    """A small network around the norm of a drop-in; torch_npu cannot differentiate a convolution under vmap."""

    def __init__(self, norm: type[nn.GroupNorm]) -> None:
        super().__init__()
        self.embed = nn.Linear(50, 54)
        self.norm = norm(GROUPS, 6)
        self.head = nn.Linear(6 * 9, 4)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.flatten(1)).unflatten(1, (6, 3, 3))
        return self.head(torch.relu(self.norm(h)).flatten(1))  # type: ignore[no-any-return]


def per_sample_gradients(
    model: nn.Module, images: Tensor, targets: Tensor
) -> tuple[dict[str, Tensor], Callable[[], dict[str, Tensor]]]:
    """The gradient of the loss of each image by itself: the parameters, and the call that computes them by vmap."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        return (functional_call(model, params, (image[None],)) - target).square().sum()

    return parameters, lambda: vmap(grad(loss), (None, 0, 0))(parameters, images, targets)


@feature("per-sample gradients: vmap(grad) of a model")
def test_per_sample_gradients_of_a_model(dropin: DropIn, device: str) -> None:
    torch.manual_seed(0)
    model = Model(dropin.module).to(device, double_on(device))
    images = torch.randn(7, 2, 5, 5, device=device, dtype=double_on(device))
    targets = torch.randn(7, 4, device=device, dtype=double_on(device))
    _, compute = per_sample_gradients(model, images, targets)
    got = compute()
    for i in range(len(images)):
        loss = (model(images[i : i + 1]) - targets[i]).square().sum()
        want = torch.autograd.grad(loss, list(model.parameters()))
        assert_agree([got[name][i] for name, _ in model.named_parameters()], list(want), device)


@feature("per-sample gradients: no loop over samples")
def test_per_sample_gradients_do_not_loop(dropin: DropIn, device: str) -> None:
    """As many operators for nine samples as for two; ours call the backward kernel once.

    Under enable() PyTorch's batching rule stays, which writes the gradient of a mapped weight out in elementary operations.
    """
    counts: list[Counter[str]] = []
    for samples in (2, 9):
        model = Model(dropin.module).to(device, double_on(device))
        images = torch.randn(samples, 2, 5, 5, device=device, dtype=double_on(device))
        targets = torch.zeros(samples, 4, device=device, dtype=double_on(device))
        _, compute = per_sample_gradients(model, images, targets)
        counts.append(operators_in(compute))
    assert counts[0] == counts[1]
    assert counts[0][dropin.operator] == (0 if dropin.name == "enabled" else 1)


@feature_of_operators("batching rules of the operators themselves")
def test_batching_rules_of_the_operators(device: str) -> None:
    """group_norm_forward and group_norm_backward under vmap, each argument mapped or not, every output mask."""
    batch, n, c, s = 3, 2, 6, 4
    dtype = double_on(device)
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64).to(device, dtype)

    shapes = ((n, c, s), (n, c, s), (n, GROUPS), (n, GROUPS), (c,))
    stacked = [normal(batch, *shape) for shape in shapes]
    for number, mapped in enumerate(itertools.product((True, False), repeat=5)):
        if not any(mapped):
            continue
        mask = [bool((number + 1) % 8 & bit) for bit in (1, 2, 4)]
        if not any(mask):
            mask = [True, True, True]
        in_dims = tuple(0 if m else None for m in mapped)
        args = [t if m else t[0] for t, m in zip(stacked, mapped, strict=True)]

        def backward(*tensors: Tensor, mask: list[bool] = mask) -> tuple[Tensor, ...]:
            grads = OPS.group_norm_backward(*tensors, n, c, s, GROUPS, mask)
            return tuple(g for g in grads if g is not None)

        got = vmap(backward, in_dims)(*args)
        for i in range(batch):
            want = backward(*[t[i] if m else t for t, m in zip(args, mapped, strict=True)])
            assert_agree(tuple(g[i] for g in got), want, device)

    def forward(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        output: tuple[Tensor, ...] = OPS.group_norm_forward(x, w, b, n, c, s, GROUPS, 1e-2)
        return output

    biases = normal(batch, c)
    for mapped in MAPPED:
        args = [
            t if m else t[0] for t, m in zip((stacked[1], stacked[4], biases), mapped, strict=True)
        ]
        got = vmap(forward, tuple(0 if m else None for m in mapped))(*args)
        for i in range(batch):
            want = forward(*[t[i] if m else t for t, m in zip(args, mapped, strict=True)])
            assert_agree(tuple(g[i] for g in got), want, device)


@feature_of_operators("batching rules of the operators themselves")
def test_vmap_of_the_derivatives_of_the_backward_operator(device: str) -> None:
    """The backward operator mapped, then differentiated, and the other way round."""
    (x, weight, _), dy = inputs_on(device)
    mean = x.reshape(2, GROUPS, -1).mean(-1)
    rstd = (x.reshape(2, GROUPS, -1).var(-1, correction=0) + 1e-2).rsqrt()
    ups = torch.stack([dy, dy.cos(), dy.sin()])

    def energy(up: Tensor, w: Tensor) -> Tensor:
        grads = OPS.group_norm_backward(up, x, mean, rstd, w, 2, 6, 4, GROUPS, [True] * 3)
        return sum(g.square().sum() for g in grads)  # type: ignore[return-value]

    got = vmap(grad(energy, (0, 1)), (0, None))(ups, weight)
    whole = grad(lambda u, w: vmap(energy, (0, None))(u, w).sum(), (0, 1))(ups, weight)
    for i in range(3):
        up, w = ups[i].requires_grad_(), weight.clone().requires_grad_()
        want = torch.autograd.grad(energy(up, w), (up, w))
        assert_agree((got[0][i], got[1][i]), want, device)
        assert_agree(whole[0][i], want[0], device)


CLASS_TRANSFORMS = {
    name: TRANSFORMS[name]
    for name in ("grad", "vjp", "jvp", "jacrev", "jacfwd", "hessian", "jvp of grad", "grad of grad")
}


@feature_of_operators("GroupNormFunction: setup_context, vmap, jvp")
@pytest.mark.parametrize("name", CLASS_TRANSFORMS)
def test_the_autograd_function_under_transforms(name: str, device: str) -> None:
    args, upstream = inputs_on(device)

    def by_class(*given: object) -> Tensor:
        output: Tensor = group_norm_grad.GroupNormFunction.apply(*given)[0]
        return output

    got = CLASS_TRANSFORMS[name](by_class, args, upstream)
    assert_agree(got, CLASS_TRANSFORMS[name](plain_group_norm, args, upstream), device)


@feature_of_operators("GroupNormFunction: setup_context, vmap, jvp")
def test_the_autograd_function_is_mapped_and_differentiates_its_statistics(device: str) -> None:
    (x, weight, bias), upstream = inputs_on(device)
    xs = torch.stack([x, x.cos(), x * 2])

    def plain(x: Tensor) -> Tensor:
        rows = x.reshape(2, GROUPS, -1)
        rstd = (rows.var(-1, correction=0) + 1e-2).rsqrt()
        output = plain_group_norm(x, GROUPS, weight, bias, 1e-2)
        return (output * upstream).square().sum() + (rows.mean(-1) * rstd).sin().sum()

    def ours(x: Tensor) -> Tensor:
        output, mean, rstd = group_norm_grad.GroupNormFunction.apply(x, GROUPS, weight, bias, 1e-2)
        return (output * upstream).square().sum() + (mean * rstd).sin().sum()

    assert_agree(vmap(grad(ours))(xs), torch.stack([grad(plain)(x) for x in xs]), device)
    assert_agree(hessian(ours)(x), hessian(plain)(x), device)
    assert {"setup_context", "jvp", "generate_vmap_rule"} <= set(
        vars(group_norm_grad.GroupNormFunction)
    )


@feature("16-bit tensors")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_transforms_of_16_bit_tensors(dtype: torch.dtype, dropin: DropIn, device: str) -> None:
    """The dtypes of a transform's results are those of the inputs, and the values those of float64, roughly."""
    x, weight, bias, upstream = (t.detach() for t in make_leaves((3, 6, 4), device, dtype))
    tangents = tuple(t.cos() for t in (x, weight, bias))
    wide = tuple(t.double().cpu() for t in (x, weight, bias))
    value, tangent = jvp(with_groups(dropin.call), (x, weight, bias), tangents)
    want = jvp(with_groups(plain_group_norm), wide, tuple(t.double().cpu() for t in tangents))
    grads = vmap(
        grad(lambda x: (dropin.call(x[None], GROUPS, weight, bias, 1e-2) * upstream[:1]).sum())
    )(x)
    up = upstream[:1].double().cpu()
    want_grads = vmap(
        grad(lambda x: (plain_group_norm(x[None], GROUPS, *wide[1:], 1e-2) * up).sum())
    )(wide[0])
    for got, expected in ((value, want[0]), (tangent, want[1]), (grads, want_grads)):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double().cpu(), expected, rtol=6e-2, atol=1e-1)
