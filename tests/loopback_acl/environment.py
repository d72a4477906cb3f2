"""The environment of a process that runs on the loopback runtime, and how tests start one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import build

VIOLATION_EXIT_CODE = 97  # of a process that broke a rule of the device, however it went on


def environment(
    libraries: Sequence[Path],
    *,
    torch_npu: bool = True,
    soc: str = "Ascend910B1",
    streams: str = "async",
    seed: int = 0,
    task_queue: int = 1,
    **more: str,
) -> dict[str, str]:
    """os.environ with the loopback libraries on the library path, and torch_npu on the import path if asked for."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("ASCEND_")}
    paths = [str(build.ROOT), *([str(build.TORCH_NPU_SITE)] if torch_npu else [])]
    env.update(
        LD_LIBRARY_PATH=os.pathsep.join(map(str, libraries)),
        PYTHONPATH=os.pathsep.join(paths),
        TORCH_DEVICE_BACKEND_AUTOLOAD="1" if torch_npu else "0",
        TASK_QUEUE_ENABLE=str(task_queue),
        # Each stream's thread would open a team of its own.
        OMP_NUM_THREADS="1",
        LOOPBACK_ACL_SOC=soc,
        LOOPBACK_ACL_STREAMS=streams,
        LOOPBACK_ACL_SEED=str(seed),
    )
    env.update(more)
    return env


def run(command: Sequence[str | Path], env: dict[str, str], timeout: float = 600) -> str:
    """Runs a process to its end and returns its output; any exit code but 0 is an AssertionError with that output."""
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        cwd=build.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-8000:]}"
    return done.stdout


def run_suite(name: str, env: dict[str, str], *options: str) -> str:
    """Runs tests/loopback_acl/suites/<name>.py under pytest in a process of its own."""
    suite = build.HERE / "suites" / f"{name}.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(suite),
    ]
    return run([*command, *options], env)
