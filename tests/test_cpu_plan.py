"""The CPU plan alone, by invariants on random problems; values are tested in test_cpu_kernels.py."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_plan_invariants(tmp_path: Path) -> None:
    """Groups and samples covered once, sums independent of the threads, every schedule chosen by some problem."""
    program = tmp_path / "plan"
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    sources = [ROOT / "tests/test_cpu_plan.cpp", ROOT / "csrc/cpu/plan.cpp"]
    subprocess.run(
        [*compiler, "-std=c++17", "-O1", f"-I{ROOT}", *map(str, sources), "-o", str(program)],
        check=True,
    )
    run = subprocess.run([str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
