"""Builds the executor's C++ test programs once, with CMake, into out/ of the checkout."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "out" / "executor"


def build(*targets: str) -> Path:
    """Bring the targets up to date and return the folder they are in. Safe for several test processes at once."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configure = ["cmake", "-S", str(ROOT / "kernels"), "-B", str(BUILD)]
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        if shutil.which("ccache"):
            configure.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
        environment = {key: value for key, value in os.environ.items() if key != "CXX"}
        for command in (
            configure,
            ["cmake", "--build", str(BUILD), "--parallel", "--target", *targets],
        ):
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return BUILD
