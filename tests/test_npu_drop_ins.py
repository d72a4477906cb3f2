"""Every drop-in on the loopback device, per product, queue mode and stream mode; each suite in a process of its own."""

from __future__ import annotations

import pytest

from tests.loopback_acl.environment import run_suite
from tests.loopback_acl.session import npu_environment


@pytest.mark.parametrize(
    ("soc", "streams", "task_queue", "seeds"),
    [
        ("Ascend910B1", "async", 1, 60),
        ("Ascend910B4", "eager", 0, 20),
        ("Ascend910_9362", "async", 2, 20),
        ("Ascend950PR_9589", "async", 1, 40),
        ("Ascend910A", "async", 1, 20),
    ],
)
def test_drop_ins(soc: str, streams: str, task_queue: int, seeds: int) -> None:
    builtin = soc == "Ascend910A"  # where the C API hands its calls on to CANN's own operator
    env = npu_environment(
        builtin, soc=soc, streams=streams, task_queue=task_queue, NPU_SUITE_SEEDS=str(seeds)
    )
    output = run_suite("drop_ins", env)
    assert " passed" in output
