"""Runs the feature tests (README's table) for the npu device, in a process on the loopback device. No test here.

Run as python -m tests.loopback_acl.features [pytest options].
"""

from __future__ import annotations

import sys

from . import build
from .environment import run
from .session import npu_environment

MODULES = ("transforms", "citizen_autograd", "autocast", "citizen_modules", "threads")


def run_features(*options: str) -> str:
    """The output of pytest; an AssertionError with it if a test fails or the device finds a broken rule."""
    tests = [str(build.ROOT / "tests" / f"test_{name}.py") for name in MODULES]
    # An operator that fails in a stream fails all that follow it: the first failure is the one to look at.
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return run([*command, "-k", "npu", *tests, *options], npu_environment())


if __name__ == "__main__":
    print(run_features(*sys.argv[1:]))
