"""Whole processes on the loopback device: clean exits in every queue mode, long runs over two streams, and a planted race."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.loopback_acl import build
from tests.loopback_acl.environment import run
from tests.loopback_acl.session import npu_environment

PROCESSES = int(os.environ.get("NPU_PROCESSES", "12"))
STEPS = int(os.environ.get("NPU_STEPS", "200"))
SUITES = build.HERE / "suites"


def test_every_process_ends_cleanly() -> None:
    """PROCESSES runs over the three queue modes and both kinds of streams."""
    npu_environment()

    def one(number: int) -> None:
        env = npu_environment(
            task_queue=number % 3, streams="async" if number // 3 % 2 else "eager", seed=number
        )
        run([sys.executable, SUITES / "short_process.py", str(number)], env)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(PROCESSES)))


@pytest.mark.parametrize("task_queue", [0, 1, 2])
def test_training_on_two_streams(task_queue: int) -> None:
    env = npu_environment(task_queue=task_queue, seed=task_queue, LOOPBACK_ACL_MAX_DELAY_US="100")
    assert f"{STEPS} steps" in run([sys.executable, SUITES / "stress.py", str(STEPS), "none"], env)


@pytest.mark.parametrize("left_out", ["update", "step"])
def test_a_missing_wait_gives_wrong_values(left_out: str) -> None:
    """The test of the test above: the same program without one of its waits must fail, for wrong values alone."""
    env = npu_environment(seed=1)
    done = subprocess.run(
        [sys.executable, SUITES / "stress.py", "100", left_out],
        env=env,
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"without wait: {left_out}" in done.stdout


def test_the_demo_on_the_loopback_device() -> None:
    """Two steps of the digits network by every drop-in, curves as on the CPU."""
    output = run(
        [sys.executable, "-m", "tests.loopback_acl.demo", "--steps", "2"], dict(os.environ)
    )
    assert output.count("parted by") == 4
    assert output.rstrip().endswith("ok")


def test_the_benchmark_runs_on_npu() -> None:
    """For function: the loopback device has no time worth telling, so --untimed; and once timed, its figures unread."""
    script = [sys.executable, "benchmarks/backward.py", "--device", "npu", "--shapes", "tiny"]
    env = npu_environment()
    output = run([*script, "--dtypes", "fp32", "bf16", "--untimed"], env)
    assert output.count("| right | untimed") == 2
    # The environment has our C API before torch_npu's own operator, and so it must be called.
    assert "x our C API through torch_npu" in run([*script, "--dtypes", "fp32"], env)
