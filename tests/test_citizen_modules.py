"""GroupNorm as a citizen of torch.nn: everything that tools do to modules, and conversion of models as people build them.

What conversion keeps of a single module is in test_modules.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DROPINS,
    DropIn,
    NormByFunction,
    assert_agree,
    device,
    double_on,
    dropin,
    feature,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from group_norm_grad import GroupNorm, convert_group_norm, revert_group_norm

NO_MODULE = {
    "function": "a function has no state",
    "enabled": "the modules are nn.GroupNorm itself",
}


def of_modules(name: str) -> pytest.MarkDecorator:
    """A feature of our module alone."""
    return pytest.mark.feature(name, dropin="module", not_applicable=NO_MODULE)


def filled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.8, 0.4)
    return module


@of_modules("state_dict both ways with nn.GroupNorm")
@pytest.mark.parametrize("kwargs", [{}, {"affine": False}, {"bias": False}], ids=str)
def test_state_dicts_are_interchangeable(kwargs: dict[str, bool], device: str) -> None:
    ours, theirs = filled(GroupNorm(4, 8, **kwargs)), filled(nn.GroupNorm(4, 8, **kwargs))
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours, theirs = ours.to(device), theirs.to(device)
    x = torch.randn(2, 8, 3, device=device)
    for source, target in ((theirs, ours), (ours, theirs)):
        for parameter in target.parameters():
            nn.init.zeros_(parameter)
        assert target.load_state_dict(source.state_dict(), strict=True) == ([], [])
        torch.testing.assert_close(target(x).cpu(), source(x).cpu())
        file = io.BytesIO()
        torch.save(source.state_dict(), file)
        file.seek(0)
        target.load_state_dict(torch.load(file, weights_only=True), assign=True)
        torch.testing.assert_close(target(x).cpu(), source(x).cpu())


@of_modules("deepcopy, pickle, torch.save of a module")
def test_copies(device: str) -> None:
    norm = filled(GroupNorm(4, 8, eps=1e-3)).to(device).eval()
    x = torch.randn(2, 8, 3, device=device)
    file = io.BytesIO()
    torch.save(norm, file)
    file.seek(0)
    copies = (
        copy.deepcopy(norm),
        copy.copy(norm),
        pickle.loads(pickle.dumps(norm)),
        torch.load(file, weights_only=False),
    )
    for other in copies:
        assert type(other) is GroupNorm and not other.training and other.eps == 1e-3
        assert torch.equal(other(x), norm(x))
    assert copies[0].weight is not norm.weight and copies[1].weight is norm.weight
    file.seek(0)
    with torch.serialization.safe_globals([GroupNorm, set, torch.nn.Parameter]):
        assert torch.equal(torch.load(file, weights_only=True)(x), norm(x))


class Positive(nn.Module):
    """A parametrization that keeps a weight above zero."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def right_inverse(self, x: Tensor) -> Tensor:
        return torch.log(torch.expm1(x))


@of_modules("nn.utils.parametrize")
def test_parametrize() -> None:
    """Parametrized before or after conversion: the values, the gradients and the way back are those of nn.GroupNorm."""
    x = torch.randn(2, 8, 3)

    def gradients(model: nn.Module) -> list[Tensor]:
        model.zero_grad()
        model(x).sin().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    def parametrized(model: nn.Sequential) -> nn.Sequential:
        parametrize.register_parametrization(model[0], "weight", Positive())
        return model

    plain = parametrized(nn.Sequential(nn.GroupNorm(4, 8)))
    want = gradients(plain)
    before, after = copy.deepcopy(plain), nn.Sequential(nn.GroupNorm(4, 8))
    assert convert_group_norm(before) == 1 and convert_group_norm(before) == 0
    assert convert_group_norm(after) == 1
    parametrized(after)
    for model in (before, after):
        assert isinstance(model[0], GroupNorm) and parametrize.is_parametrized(model[0])
        torch.testing.assert_close(gradients(model), want)
        assert revert_group_norm(model) == 1 and not isinstance(model[0], GroupNorm)
        torch.testing.assert_close(gradients(model), want)
        assert convert_group_norm(model) == 1
        parametrize.remove_parametrizations(model[0], "weight")
        assert type(model[0]) is GroupNorm
        torch.testing.assert_close(model(x), plain(x))
    assert not isinstance(plain[0], GroupNorm), "a copy was converted, the original was not"
    model = nn.Sequential(GroupNorm(4, 8))
    parametrizations.weight_norm(model[0], "weight", dim=0)
    assert len(gradients(model)) == 3


def diffusion_block(norm: type[nn.GroupNorm]) -> nn.Module:
    """A residual block of a diffusion U-Net with time embedding and attention, as such models are commonly built."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2, self.norm3 = norm(8, 16), norm(8, 32, eps=1e-6), norm(8, 32)
            self.conv1, self.conv2 = (
                nn.Conv2d(16, 32, 3, padding=1),
                nn.Conv2d(32, 32, 3, padding=1),
            )
            self.time, self.skip = nn.Linear(8, 64), nn.Conv2d(16, 32, 1)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            h = self.conv1(F.silu(self.norm1(x)))
            scale, shift = self.time(F.silu(time))[:, :, None, None].chunk(2, 1)
            h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift)) + self.skip(x)
            tokens = self.norm3(h).flatten(2).transpose(1, 2)
            mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
            return h + mixed.transpose(1, 2).reshape(h.shape)  # type: ignore[no-any-return]

    return filled(Block())


def resnet(norm: type[nn.GroupNorm]) -> nn.Module:
    """A residual network with bottlenecks that takes its norm as a factory, as torchvision's does."""

    class Bottleneck(nn.Module):
        def __init__(self, width: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(width, width, 1, bias=False), norm(4, width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = norm(4, width)
            self.conv3, self.bn3 = nn.Conv2d(width, 2 * width, 1, bias=False), norm(4, 2 * width)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = nn.Sequential(
                nn.Conv2d(width, 2 * width, 1, stride, bias=False), norm(4, 2 * width)
            )

        def forward(self, x: Tensor) -> Tensor:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
            return self.relu(out + self.downsample(x))  # type: ignore[no-any-return]

    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), norm(4, 8), nn.ReLU(inplace=True)]
    layers = [Bottleneck(8, 1), Bottleneck(16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return filled(nn.Sequential(*stem, *layers, nn.Linear(32, 5)))


MODELS: dict[
    str, tuple[Callable[[type[nn.GroupNorm]], nn.Module], tuple[tuple[int, ...], ...], int]
] = {
    "diffusion U-Net block": (diffusion_block, ((2, 16, 6, 6), (2, 8)), 3),
    "ResNet": (resnet, ((3, 3, 16, 16),), 9),
}


NO_ATTENTION = {f"{name}/npu": "the loopback device has no attention operator" for name in DROPINS}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n,
            marks=pytest.mark.feature(
                f"convert_group_norm on a {n}",
                not_applicable=NO_ATTENTION if "U-Net" in n else {},
            ),
            id=n.split()[0],
        )
        for n in MODELS
    ],
)
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
def test_models(name: str, channels_last: bool, dropin: DropIn, device: str) -> None:
    """Gradients of a whole model, converted (module), built of our function, or under enable(); and back again."""
    build, shapes, norms = MODELS[name]
    dtype = double_on(device)
    torch.manual_seed(1)
    inputs = [torch.randn(shape).to(device, dtype) for shape in shapes]

    def gradients(model: nn.Module) -> tuple[Tensor, ...]:
        leaves = [t.detach().requires_grad_() for t in inputs]
        output = model(*leaves)
        return output, *torch.autograd.grad(output.sin().sum(), [*leaves, *model.parameters()])

    model = build(NormByFunction if dropin.name == "function" else nn.GroupNorm).to(device, dtype)
    reference = build(nn.GroupNorm).to("cpu", torch.float64)
    if channels_last and device == "cpu":
        model, inputs[0] = (t.to(memory_format=torch.channels_last) for t in (model, inputs[0]))
    elif channels_last:  # torch_npu has no memory formats, but takes any strides
        inputs[0] = inputs[0].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    host = [t.detach().cpu().double().requires_grad_() for t in inputs]
    output = reference(*host)
    want = output, *torch.autograd.grad(output.sin().sum(), [*host, *reference.parameters()])
    if dropin.name == "module":
        assert convert_group_norm(model) == norms
        assert convert_group_norm(model) == 0, "idempotent"
        assert sum(type(m) is GroupNorm for m in model.modules()) == norms
    assert_agree(gradients(model), want, device)
    if dropin.name == "module":
        assert revert_group_norm(model) == norms, "reversible"
        assert repr(model) == repr(reference)
        assert_agree(gradients(model), want, device)


@feature("torch.fx symbolic_trace")
def test_symbolic_trace(dropin: DropIn, device: str) -> None:
    """A traced model calls the drop-in, runs, pickles and differentiates as the model does."""
    model = resnet(dropin.module).to(device)
    traced = torch.fx.symbolic_trace(model)
    target: object = F.group_norm if dropin.name == "enabled" else DROPINS["function"].call
    called = [n.target for n in traced.graph.nodes if n.op == "call_function"]
    modules = dict(traced.named_modules())
    leaves = [
        n
        for n in traced.graph.nodes
        if n.op == "call_module" and type(modules[n.target]) is nn.GroupNorm
    ]
    assert called.count(target) == (0 if dropin.name == "enabled" else 9)
    assert len(leaves) == (9 if dropin.name == "enabled" else 0)
    x = torch.randn(2, 3, 16, 16, device=device)
    for version in (traced, pickle.loads(pickle.dumps(traced))):
        version.zero_grad()
        version(x).square().sum().backward()
        got = {name: p.grad for name, p in version.named_parameters()}
        model.zero_grad()
        model(x).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert_agree(got[name], parameter.grad, "npu")


@of_modules("device, dtype and memory-format moves")
def test_moves(device: str) -> None:
    norm = filled(GroupNorm(4, 8))
    for move, dtype in (
        (nn.Module.double, torch.float64),
        (nn.Module.half, torch.float16),
        (nn.Module.bfloat16, torch.bfloat16),
        (nn.Module.float, torch.float32),
    ):
        moved = move(copy.deepcopy(norm)).to(device)
        assert {(p.dtype, p.device.type) for p in moved.parameters()} == {(dtype, device)}
        if device == "cpu" or dtype != torch.float64:
            x = torch.randn(2, 8, 3, 3, device=device, dtype=dtype)
            if device == "cpu":
                x, moved = (t.to(memory_format=torch.channels_last) for t in (x, moved))
            output = moved(x)
            assert output.dtype == dtype and output.stride() == x.stride()
            output.sum().backward()
            assert all(p.grad.dtype == dtype for p in moved.parameters())  # type: ignore[union-attr]
    back = copy.deepcopy(norm).to(device).to("meta").to_empty(device=device)
    back.load_state_dict(norm.state_dict())
    assert torch.equal(back.weight.cpu(), norm.weight)


@of_modules("meta-device initialisation")
def test_meta_initialisation(device: str) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), GroupNorm(4, 8))
        output = model(torch.empty(2, 3, 5, 5))
    assert output.is_meta and output.shape == (2, 8, 3, 3)
    output.sum().backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters())
    model.to_empty(device=device)
    for module in model:
        module.reset_parameters()
    assert torch.equal(model[1].weight.cpu(), torch.ones(8)) and not model[1].bias.any()
    assert model(torch.randn(2, 3, 5, 5, device=device)).shape == (2, 8, 3, 3)
    skipped = nn.utils.skip_init(GroupNorm, 4, 8)
    assert skipped.weight.device.type == "cpu"


@of_modules("repr, extra_repr and constructor of nn.GroupNorm")
def test_repr() -> None:
    for arguments in ((4, 8), (2, 8, 0.1), (8, 8, 1e-5, False)):
        assert repr(GroupNorm(*arguments)) == repr(nn.GroupNorm(*arguments))
        assert GroupNorm(*arguments).extra_repr() == nn.GroupNorm(*arguments).extra_repr()
    assert GroupNorm.__constants__ == nn.GroupNorm.__constants__


@of_modules("lazy modules untouched")
def test_lazy_modules() -> None:
    """Conversion neither materialises lazy modules nor minds them; they materialise around ours as usual."""
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.GroupNorm(4, 8), nn.Flatten(), nn.LazyLinear(2))
    assert convert_group_norm(model) == 1
    assert type(model[0]) is nn.LazyConv2d and model[0].has_uninitialized_params()
    assert type(model[3]) is nn.LazyLinear and model[3].has_uninitialized_params()
    model(torch.randn(2, 3, 5, 5)).sum().backward()
    assert type(model[0]) is nn.Conv2d and type(model[3]) is nn.Linear
    assert model[1].weight.grad is not None


@of_modules("torch.nn.utils.swap and stateless calls")
def test_stateless_calls_and_swaps(device: str) -> None:
    norm = filled(GroupNorm(4, 8)).to(device)
    x = torch.randn(2, 8, 3, device=device)
    weights = {"weight": torch.rand(8, device=device), "bias": torch.rand(8, device=device)}
    want = F.group_norm(x, 4, weights["weight"], weights["bias"])
    torch.testing.assert_close(torch.func.functional_call(norm, weights, (x,)).cpu(), want.cpu())
    stacked, _ = torch.func.stack_module_state([norm, copy.deepcopy(norm)])
    outputs = torch.func.vmap(lambda p: torch.func.functional_call(norm, p, (x,)))(stacked)
    torch.testing.assert_close(outputs[1].cpu(), norm(x).cpu())
    previous = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        assert norm.bfloat16().weight.dtype == torch.bfloat16
    finally:
        torch.__future__.set_swap_module_params_on_conversion(previous)
