"""The GroupNorm module and convert_group_norm: what they share with nn.GroupNorm, and that nothing is lost on the way."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from group_norm_grad import GroupNorm, convert_group_norm, revert_group_norm


class Block(nn.Module):
    """A residual block, with a norm that it uses twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.same_norm = self.norm

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.same_norm(self.conv(torch.relu(self.norm(x)))))


def model() -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.GroupNorm(2, 8, eps=1e-3),
        Block(),
        nn.Sequential(nn.GroupNorm(8, 8, affine=False), nn.ReLU()),
        nn.Flatten(),
        nn.LazyLinear(5),
    )
    net(torch.randn(1, 3, 6, 6))
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    return net


def profiled_names(net: nn.Module, x: Tensor) -> set[str]:
    with torch.profiler.profile() as profile:
        net(x).square().sum().backward()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"eps": 0.5},
        {"affine": False},
        {"bias": False},
        {"dtype": torch.float64},
        {"device": "meta"},
    ],
    ids=str,
)
def test_module_is_built_like_nn_group_norm(kwargs: dict[str, Any]) -> None:
    ours, theirs = GroupNorm(4, 8, **kwargs), nn.GroupNorm(4, 8, **kwargs)
    assert isinstance(ours, nn.GroupNorm)
    assert repr(ours) == repr(theirs)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for name in mine:
        assert (mine[name].shape, mine[name].dtype, mine[name].device) == (
            other[name].shape,
            other[name].dtype,
            other[name].device,
        )
    ours.load_state_dict(other)
    theirs.load_state_dict(mine)
    assert ours(
        torch.randn(2, 8, 3, dtype=kwargs.get("dtype"), device=kwargs.get("device"))
    ).shape == (2, 8, 3)


def test_module_runs_our_backward() -> None:
    names = profiled_names(GroupNorm(4, 8), torch.randn(2, 8, 3))
    assert "group_norm_grad::group_norm_backward" in names


def test_constructor_refuses_what_nn_group_norm_refuses() -> None:
    with pytest.raises(ValueError, match="divisible"):
        GroupNorm(3, 8)


def test_conversion_counts_and_shares() -> None:
    # In double: the gradients are sums that nearly cancel, whatever kernel makes them.
    net = model().double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    before = {name: id(p) for name, p in net.named_parameters()}
    state = copy.deepcopy(net.state_dict())
    want = net(x)
    net(x).square().sum().backward()
    want_grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    assert convert_group_norm(net) == 3
    assert convert_group_norm(net) == 0
    assert {name: id(p) for name, p in net.named_parameters()} == before
    assert all(torch.equal(a, state[name]) for name, a in net.state_dict().items())
    assert not any(type(m) is nn.GroupNorm for m in net.modules())
    assert net[2].norm is net[2].same_norm
    assert net[1].eps == 1e-3 and net[3][0].weight is None
    torch.testing.assert_close(net(x), want)
    net(x).square().sum().backward()
    got_grads = [p.grad for p in net.parameters()]
    torch.testing.assert_close(got_grads, want_grads, rtol=1e-7, atol=1e-9)
    names = profiled_names(net, x)
    assert "group_norm_grad::group_norm_backward" in names
    assert "aten::native_group_norm_backward" not in names


def test_conversion_of_a_root_and_of_nothing() -> None:
    norm = nn.GroupNorm(2, 4)
    assert convert_group_norm(norm) == 1 and isinstance(norm, GroupNorm)
    assert convert_group_norm(nn.Linear(2, 2)) == 0
    assert convert_group_norm(nn.Sequential()) == 0
    with pytest.raises(TypeError, match="list"):
        convert_group_norm([norm])  # type: ignore[arg-type]


def test_conversion_keeps_hooks_flags_and_extra_attributes() -> None:
    net = model().eval()
    norm = net[1]
    norm.train()
    norm.note = "mine"
    calls: list[str] = []
    norm.register_forward_pre_hook(lambda *_: calls.append("pre"))
    norm.register_forward_hook(lambda *_: calls.append("forward"))
    norm.register_full_backward_hook(lambda *_: calls.append("backward"))
    norm.register_buffer("extra", torch.ones(1))
    norm.weight.requires_grad_(False)
    convert_group_norm(net)
    norm = net[1]
    assert isinstance(norm, GroupNorm)
    assert norm.training and not net[2].norm.training and norm.note == "mine"
    assert not norm.weight.requires_grad and norm.bias.requires_grad
    assert "1.extra" in net.state_dict()
    net(torch.randn(2, 3, 6, 6, requires_grad=True)).sum().backward()
    assert calls == ["pre", "forward", "backward"]


def test_an_optimizer_made_before_the_conversion_still_trains() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    convert_group_norm(net)
    before = net[1].weight.detach().clone()
    net(torch.randn(2, 3, 6, 6)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net[1].weight, before)


def test_subclasses_are_left_alone() -> None:
    class Own(nn.GroupNorm):
        def forward(self, input: Tensor) -> Tensor:
            return input

    net = nn.Sequential(Own(2, 4), nn.GroupNorm(2, 4))
    assert convert_group_norm(net) == 1
    assert type(net[0]) is Own


def test_reverting_gives_nn_group_norm_back() -> None:
    net = model()
    convert_group_norm(net)
    assert revert_group_norm(net) == 3
    assert type(net[1]) is nn.GroupNorm
    assert revert_group_norm(net) == 0
