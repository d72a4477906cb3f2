"""The drop-ins and devices that the feature tests run over, and the marker that puts a test's result in README's table.

No expected values and no tests. A test module imports the fixtures that it uses by name.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

import group_norm_grad

GroupNormCall = Callable[..., Tensor]


def module_of(
    num_groups: int, channels: int, names: Sequence[str], eps: float, device: torch.device | str
) -> group_norm_grad.GroupNorm:
    """Our module with just the parameters of these names, to be given their values by functional_call."""
    norm = group_norm_grad.GroupNorm(num_groups, channels, eps, affine=False, device=device)
    for name in names:
        norm.register_parameter(name, nn.Parameter(torch.empty(0, device=device)))
    return norm


def by_module(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Our module, with the given tensors for its parameters."""
    given = {"weight": weight, "bias": bias}
    tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
    norm = module_of(num_groups, input.shape[1], list(tensors), eps, input.device)
    output: Tensor = functional_call(norm, tensors, (input,))
    return output


class NormByFunction(nn.GroupNorm):
    """A model's own norm layer that calls our function."""

    def forward(self, input: Tensor) -> Tensor:
        return group_norm_grad.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class DropIn(NamedTuple):
    """One way to have our gradient: a function with F.group_norm's signature, and the scope that it needs."""

    name: str
    call: GroupNormCall
    module: type[nn.GroupNorm]
    scope: Callable[[], AbstractContextManager[object]]
    operator: str
    """The backward operator that a profile of it shows."""


OURS = "group_norm_grad::group_norm_backward"
DROPINS = {
    "function": DropIn("function", group_norm_grad.group_norm, NormByFunction, nullcontext, OURS),
    "module": DropIn("module", by_module, group_norm_grad.GroupNorm, nullcontext, OURS),
    "enabled": DropIn(
        "enabled",
        F.group_norm,
        nn.GroupNorm,
        group_norm_grad.enabled,
        "aten::native_group_norm_backward",
    ),
}

# An npu device is there when torch_npu was loaded before the tests, as on the loopback runtime.
DEVICES = ("cpu", *(("npu",) if hasattr(torch, "npu") and torch.npu.is_available() else ()))
if "npu" in DEVICES:
    # The default would have torch_npu keep the weights of convolutions in a format of the hardware's own.
    torch.npu.set_compile_mode(jit_compile=False)


@pytest.fixture(params=DROPINS)
def dropin(request: pytest.FixtureRequest) -> Iterator[DropIn]:
    """Each drop-in in turn, inside its scope for the whole test."""
    chosen = DROPINS[request.param]
    with chosen.scope():
        yield chosen


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device of this process."""
    name: str = request.param
    return name


def feature(name: str) -> pytest.MarkDecorator:
    """Marks tests as the proof of a feature: one row of the table, by this name."""
    return pytest.mark.feature(name)


def feature_of_operators(name: str) -> pytest.MarkDecorator:
    """A feature of our registered operators, which the function and the module share."""
    return pytest.mark.feature(
        name,
        dropin="function",
        not_applicable={
            "module": "the module calls the function's operators",
            "enabled": "the operators around the kernel are PyTorch's own",
        },
    )


def make_leaves(
    shape: tuple[int, ...],
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    param_dtype: torch.dtype | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """input (N, C, *), weight (C), bias (C) that require gradients, and an upstream gradient of input's shape."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    affine = param_dtype or dtype
    x = (0.5 + normal(*shape)).to(device, dtype).requires_grad_()
    weight = (1.3 + 0.4 * normal(shape[1])).to(device, affine).requires_grad_()
    bias = (normal(shape[1]) - 0.6).to(device, affine).requires_grad_()
    return x, weight, bias, (0.3 + normal(*shape)).to(device, dtype)


def plain_group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalisation written out in elementary operations, so that its derivatives are nobody's kernel."""
    rows = input.reshape(input.shape[0], num_groups, -1)
    centred = rows - rows.mean(-1, keepdim=True)
    xhat = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    per_channel = (1, input.shape[1]) + (1,) * (input.dim() - 2)
    output = xhat.reshape(input.shape)
    if weight is not None:
        output = output * weight.reshape(per_channel)
    return output if bias is None else output + bias.reshape(per_channel)


def double_on(device: str) -> torch.dtype:
    """The dtype to compare derivatives in: float64, or float32 on a device that has no float64."""
    return torch.float64 if device == "cpu" else torch.float32


def on_host(tensors: object) -> object:
    """The same tree of tensors in float64 on the CPU, detached."""
    return torch.utils._pytree.tree_map_only(  # type: ignore[attr-defined]
        Tensor, lambda tensor: tensor.detach().cpu().double(), tensors
    )


def assert_agree(got: object, want: object, device: str = "cpu") -> None:
    """Both trees of tensors have the same values, to the accuracy of double_on(device)."""
    tolerance = 1e-9 if double_on(device) == torch.float64 else 2e-4
    torch.testing.assert_close(on_host(got), on_host(want), rtol=tolerance, atol=tolerance)


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a process that a test starts: the package that is tested comes first on its path."""
    package = Path(group_norm_grad.__file__).parents[1]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


def operators_in(run: Callable[[], object]) -> Counter[str]:
    """How many times each operator, by its `namespace::name`, reaches a backend while `run` runs."""
    counts: Counter[str] = Counter()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(
            self,
            func: torch._ops.OpOverload,
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            counts[func._schema.name] += 1
            return func(*args, **(kwargs or {}))

    with Count():
        run()
    return counts
