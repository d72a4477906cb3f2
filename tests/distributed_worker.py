"""One rank of the distributed tests: runs every scenario over every drop-in and writes what went wrong as JSON.

Started by test_distributed, never imported by it; gradients are compared with those of one process without our kernels.
"""

from __future__ import annotations

import copy
import json
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from dropins import DROPINS, DropIn, plain_group_norm
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import (
    DTensor,
    Placement,
    Replicate,
    Shard,
    distribute_module,
    distribute_tensor,
)
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn.parallel import DistributedDataParallel

GROUPS, CHANNELS, BATCH = 4, 8, 8
STEPS = 3


class Block(nn.Module):
    """Convolution, norm and activation, with a residual connection."""

    def __init__(self, norm: type[nn.GroupNorm]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm = norm(GROUPS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.norm(self.conv(x)))


def model_of(norm: type[nn.GroupNorm]) -> nn.Sequential:
    """The same weights on every rank and for every kind of norm."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 1),
        Block(norm),
        Block(norm),
        nn.Flatten(),
        nn.Linear(CHANNELS * 16, 2),
    )
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, 0.5)
            nn.init.normal_(module.bias)
    return model.double()


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [(normal(BATCH, 3, 4, 4), normal(BATCH, 2)) for _ in range(STEPS)]


def train(model: nn.Module, rank: int = 0, world: int = 1) -> None:
    """SGD on this rank's part of each batch; the mean over ranks of the losses is the loss of the whole batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for x, target in batches():
        optimizer.zero_grad()
        part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
        (model(x[part]) - target[part]).square().mean().backward()
        optimizer.step()


def assert_same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert list(got) == list(want)
    for name, tensor in want.items():
        torch.testing.assert_close(
            got[name].double(),
            tensor,
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def checkpoint_blocks(model: nn.Sequential) -> nn.Sequential:
    for i in (1, 2):
        model[i] = checkpoint_wrapper(model[i])
    return model


def data_parallel(dropin: DropIn, mesh: DeviceMesh, want: dict[str, Tensor], remat: bool) -> None:
    model = model_of(dropin.module)
    wrapped = DistributedDataParallel(checkpoint_blocks(copy.deepcopy(model)) if remat else model)
    train(wrapped, mesh.get_rank(), mesh.size())
    state = {
        name.replace("_checkpoint_wrapped_module.", ""): tensor.detach()
        for name, tensor in wrapped.module.named_parameters()
    }
    assert_same(state, want)


def fully_sharded(dropin: DropIn, mesh: DeviceMesh, want: dict[str, Tensor], remat: bool) -> None:
    model = model_of(dropin.module)
    names = [name for name, _ in model.named_parameters()]
    if remat:
        checkpoint_blocks(model)
    fully_shard(model[1].norm if not remat else model[1], mesh=mesh)
    fully_shard(model[2], mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    train(model, mesh.get_rank(), mesh.size())
    whole = {
        name: p.full_tensor().detach() for name, p in zip(names, model.parameters(), strict=True)
    }
    assert_same(whole, want)


def fully_sharded_16_bit(dropin: DropIn, mesh: DeviceMesh, want: dict[str, Tensor]) -> None:
    """bfloat16 parameters in the forward, float32 gradients: the norms see 16-bit weights and inputs."""
    model = model_of(dropin.module).float()
    names = [name for name, _ in model.named_parameters()]
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in (model[1], model[2], model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    train(model, mesh.get_rank(), mesh.size())
    whole = {
        name: p.full_tensor().detach() for name, p in zip(names, model.parameters(), strict=True)
    }
    assert_same(whole, want, tolerance=0.05)


def tensors(channels: int = CHANNELS) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    x, up = torch.randn(2, BATCH, channels, 3, 2, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, channels, generator=generator, dtype=torch.float64)
    return x, weight, bias, up


Placements = list[Placement]


def norm_of_shards(
    dropin: DropIn,
    mesh: DeviceMesh,
    of_input: Placements,
    of_weight: Placements,
    groups: int,
    channels: int,
) -> tuple[int, list[Placements]]:
    """Output and gradients on shards, checked against the whole; how many collectives it took, and their placements."""
    x, weight, bias, up = tensors(channels)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    want = plain_group_norm(leaves[0], groups, *leaves[1:])
    want_grads = torch.autograd.grad(want, leaves, up)
    upstream = distribute_tensor(up, mesh, of_input)
    for mask in (
        (True, True, True),
        (True, False, False),
        (False, True, True),
        (False, False, True),
    ):
        shards = [
            distribute_tensor(t, mesh, placements).requires_grad_(wanted)
            for t, placements, wanted in zip(
                (x, weight, bias), (of_input, of_weight, of_weight), mask, strict=True
            )
        ]
        with CommDebugMode() as communication:
            output = dropin.call(shards[0], groups, shards[1], shards[2])
            output.backward(upstream)
        grads = [s.grad for s in shards if s.grad is not None]
        expected = [w for w, m in zip(want_grads, mask, strict=True) if m]
        for got, reference in zip((output, *grads), (want, *expected), strict=True):
            torch.testing.assert_close(got.full_tensor(), reference.detach())
        if all(mask):
            result = (
                communication.get_total_counts(),
                [list(t.placements) for t in (output, *grads)],
            )
    return result


def sharded_batch(dropin: DropIn, mesh: DeviceMesh) -> None:
    count, placements = norm_of_shards(dropin, mesh, [Shard(0)], [Replicate()], GROUPS, CHANNELS)
    assert count == 0, f"{count} collectives where none is needed"
    assert placements[0] == [Shard(0)] and placements[1] == [Shard(0)]
    assert placements[2][0].is_partial() and placements[3][0].is_partial()


def sharded_channels(dropin: DropIn, mesh: DeviceMesh) -> None:
    count, placements = norm_of_shards(dropin, mesh, [Shard(1)], [Shard(0)], GROUPS, CHANNELS)
    assert count == 0, f"{count} collectives where none is needed"
    assert placements == [[Shard(1)], [Shard(1)], [Shard(0)], [Shard(0)]]


def sharded_both_ways(dropin: DropIn, mesh: DeviceMesh) -> None:
    """Batch over one dimension of the mesh and channels over the other, and channels over both."""
    grid = init_device_mesh("cpu", (mesh.size() // 2, 2), mesh_dim_names=("data", "model"))
    count, _ = norm_of_shards(
        dropin, grid, [Shard(0), Shard(1)], [Replicate(), Shard(0)], GROUPS, CHANNELS
    )
    assert count == 0
    # Two groups do not go four ways: one of the two dimensions has to be gathered.
    groups = 2
    count, _ = norm_of_shards(
        dropin, grid, [Shard(1), Shard(1)], [Shard(0), Shard(0)], groups, CHANNELS
    )
    assert (count > 0) is (mesh.size() > groups)
    count, _ = norm_of_shards(
        dropin, grid, [Shard(0), Shard(1)], [Replicate(), Shard(0)], groups, CHANNELS
    )
    assert count == 0


def placements_that_need_communication(dropin: DropIn, mesh: DeviceMesh) -> None:
    """Right all the same: groups that shards would cut, shards of the image, a weight placed unlike the input."""
    count, _ = norm_of_shards(dropin, mesh, [Shard(1)], [Shard(0)], 3, 12)
    assert count > 0
    for of_input, of_weight in (
        (Shard(2), Replicate()),
        (Shard(3), Replicate()),
        (Shard(0), Shard(0)),
        (Shard(1), Replicate()),
        (Replicate(), Shard(0)),
    ):
        norm_of_shards(dropin, mesh, [of_input], [of_weight], GROUPS, CHANNELS)
    x, _, _, up = tensors()
    uneven = x[: mesh.size() + 1], up[: mesh.size() + 1]
    leaf = uneven[0].clone().requires_grad_()
    want = torch.autograd.grad(plain_group_norm(leaf, GROUPS), leaf, uneven[1])[0]
    shard = distribute_tensor(uneven[0], mesh, [Shard(0)]).requires_grad_()
    output = dropin.call(shard, GROUPS)
    (got,) = torch.autograd.grad(output, shard, distribute_tensor(uneven[1], mesh, [Shard(0)]))
    torch.testing.assert_close(got.full_tensor(), want)


def sharded_module(dropin: DropIn, mesh: DeviceMesh) -> None:
    """A norm layer whose parameters are sharded by channel, in a training step of tensor parallelism."""
    norm = dropin.module(GROUPS, CHANNELS).double()
    nn.init.normal_(norm.weight)
    dist.broadcast(norm.weight.data, 0)
    plain = nn.GroupNorm(GROUPS, CHANNELS).double()
    plain.load_state_dict(norm.state_dict())

    def shard(name: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for key, parameter in module.named_parameters(recurse=False):
            module.register_parameter(
                key, nn.Parameter(distribute_tensor(parameter, mesh, [Shard(0)]))
            )

    distribute_module(norm, mesh, shard)
    x, _, _, up = tensors()
    norm(distribute_tensor(x, mesh, [Shard(1)])).backward(distribute_tensor(up, mesh, [Shard(1)]))
    plain(x).backward(up)
    for got, want in zip(norm.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.grad.full_tensor(), want.grad)  # type: ignore[union-attr]


def pytorch_has_no_rule(dropin: DropIn, mesh: DeviceMesh) -> None:
    """Why DTensor is not applicable under enable(): F.group_norm itself has no backward on shards in this PyTorch."""
    shard = distribute_tensor(tensors()[0], mesh, [Shard(0)]).requires_grad_()
    output = torch.nn.functional.group_norm(shard, GROUPS)
    with pytest.raises(NotImplementedError, match="native_group_norm_backward"):
        output.sum().backward()


def main(rank: int, world: int, directory: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{directory}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    mesh = init_device_mesh("cpu", (world,))
    baseline = model_of(nn.GroupNorm)
    train(baseline)
    want = {name: p.detach().clone() for name, p in baseline.named_parameters()}
    everywhere: dict[str, Callable[[DropIn, DeviceMesh], None]] = {
        "ddp": lambda d, m: data_parallel(d, m, want, False),
        "ddp_checkpoint": lambda d, m: data_parallel(d, m, want, True),
        "fsdp": lambda d, m: fully_sharded(d, m, want, False),
        "fsdp_checkpoint": lambda d, m: fully_sharded(d, m, want, True),
        "fsdp_16_bit": lambda d, m: fully_sharded_16_bit(d, m, want),
    }
    shards = {
        "dtensor_batch": sharded_batch,
        "dtensor_channels": sharded_channels,
        "dtensor_both": sharded_both_ways,
        "dtensor_communication": placements_that_need_communication,
        "dtensor_module": sharded_module,
    }
    results: dict[str, str] = {}

    def run(scenario: str, dropin: DropIn, call: Callable[[DropIn, DeviceMesh], None]) -> None:
        try:
            with dropin.scope():
                call(dropin, mesh)
            results[f"{scenario}/{dropin.name}"] = "passed"
        except Exception:
            results[f"{scenario}/{dropin.name}"] = traceback.format_exc()

    for dropin in DROPINS.values():
        for scenario, call in everywhere.items():
            run(scenario, dropin, call)
        if dropin.name == "enabled":
            run("dtensor_upstream", dropin, pytorch_has_no_rule)
            continue
        for scenario, call in shards.items():
            run(scenario, dropin, call)
    (directory / f"{rank}.json").write_text(json.dumps(results))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
