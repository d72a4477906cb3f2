"""Data, fully sharded and tensor parallelism on gloo, 2 and 4 real processes; the scenarios are in distributed_worker.

The processes of one world size run all scenarios once; each test reads the verdict of its own. A run that hangs is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dropins import child_environment, feature
from filelock import FileLock

WORKER = Path(__file__).with_name("distributed_worker.py")
WORLDS = (2, 4)
DEADLINE_S = 150

TRAINING = {
    "ddp": "DDP, gradients equal to one process",
    "ddp_checkpoint": "DDP with activation checkpoint",
    "fsdp": "FSDP2 (fully_shard)",
    "fsdp_checkpoint": "FSDP2 with activation checkpoint",
    "fsdp_16_bit": "FSDP2 with a bfloat16 policy",
}
NO_RULE = "PyTorch has no sharding rule for aten::native_group_norm_backward"
SHARDS = {
    "dtensor_batch": "DTensor sharded by batch, no communication",
    "dtensor_channels": "DTensor sharded by whole groups, no communication",
    "dtensor_both": "DTensor on a two-dimensional mesh",
    "dtensor_communication": "DTensor placements that need communication",
    "dtensor_module": "DTensor: a module with sharded parameters",
}


def run_world(world: int, directory: Path) -> dict[str, list[str]]:
    """Starts the ranks, waits for them or kills them all, and returns the verdicts of every rank by scenario."""
    environment = child_environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    logs = [directory / f"{rank}.log" for rank in range(world)]
    ranks = []
    for rank, log in enumerate(logs):
        with log.open("w") as out:
            command = [sys.executable, str(WORKER), str(rank), str(world), str(directory)]
            ranks.append(
                subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
            )
    deadline = time.monotonic() + DEADLINE_S
    try:
        while any(p.poll() is None for p in ranks):
            # One that failed leaves the others waiting for it.
            if time.monotonic() > deadline or any(p.poll() for p in ranks):
                break
            time.sleep(0.05)
    finally:
        for p in ranks:
            p.kill()
            p.wait()
    codes = [p.returncode for p in ranks]
    tail = "\n".join(log.read_text()[-2000:] for log in logs)
    assert codes == [0] * world, f"exit codes {codes} within {DEADLINE_S} s\n{tail}"
    verdicts: dict[str, list[str]] = {}
    for rank in range(world):
        for name, verdict in json.loads((directory / f"{rank}.json").read_text()).items():
            verdicts.setdefault(name, []).append(verdict)
    return verdicts


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[str]]]:
    """The verdicts of both world sizes, computed once for all of pytest's own worker processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    file = shared / "distributed.json"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            results: dict[int, object] = {}
            for world in WORLDS:
                directory = tmp_path_factory.mktemp(f"world{world}")
                try:
                    results[world] = run_world(world, directory)
                except AssertionError as error:
                    results[world] = str(error)
            file.write_text(json.dumps(results))
        loaded = json.loads(file.read_text())
    return {int(world): result for world, result in loaded.items()}


def check(verdicts: dict[int, dict[str, list[str]]], world: int, name: str) -> None:
    result = verdicts[world]
    assert not isinstance(result, str), result
    assert result[name] == ["passed"] * world, "\n".join(result[name])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("dropin", ["function", "module", "enabled"])
@pytest.mark.parametrize(
    "scenario", [pytest.param(s, marks=feature(n), id=s) for s, n in TRAINING.items()]
)
def test_training(
    scenario: str, dropin: str, world: int, verdicts: dict[int, dict[str, list[str]]]
) -> None:
    check(verdicts, world, f"{scenario}/{dropin}")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("dropin", ["function", "module"])
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(s, marks=pytest.mark.feature(n, not_applicable={"enabled": NO_RULE}), id=s)
        for s, n in SHARDS.items()
    ],
)
def test_shards(
    scenario: str, dropin: str, world: int, verdicts: dict[int, dict[str, list[str]]]
) -> None:
    check(verdicts, world, f"{scenario}/{dropin}")


@pytest.mark.parametrize("world", WORLDS)
def test_why_shards_do_not_apply_to_the_override(
    world: int, verdicts: dict[int, dict[str, list[str]]]
) -> None:
    check(verdicts, world, "dtensor_upstream/enabled")


def test_the_rules_wait_for_the_import_of_dtensor() -> None:
    """`import group_norm_grad` does not import torch.distributed.tensor; whichever comes first, the rules are there."""
    for order in (
        "group_norm_grad, torch.distributed.tensor",
        "torch.distributed.tensor, group_norm_grad",
    ):
        program = f"""
import sys, torch
before = set(sys.modules)
import group_norm_grad
assert {order.startswith("torch")} or not any(
    m.startswith(("torch.distributed.tensor", "torch._dynamo.")) for m in set(sys.modules) - before
)
import torch.distributed.tensor
rules = torch.distributed.tensor.DTensor._op_dispatcher.sharding_propagator.op_strategy_funcs
assert torch.ops.group_norm_grad.group_norm_backward.default in rules
assert torch.ops.group_norm_grad.group_norm_forward.default in rules
assert type(torch.distributed.tensor.__spec__.loader).__module__ != "group_norm_grad.sharding"
"""
        program = f"import {order}\n{program}" if order.startswith("torch") else program
        subprocess.run(
            [sys.executable, "-c", program], check=True, timeout=120, env=child_environment()
        )
