"""What a test session needs of the loopback device, built once: libraries, kernel, installed paths. No test here."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from . import build
from .environment import environment


@cache
def opp_path() -> Path:
    """The installed C API, as a user finds it."""
    done = subprocess.run(
        [sys.executable, "-m", "group_norm_grad", "--opp-path"],
        env=environment([], torch_npu=False),
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{done.stderr}: build the package with torch_npu on the path, as `make test` does"
    )
    return Path(done.stdout.strip())


@cache
def with_torch() -> tuple[Path, Path]:
    """The loopback libraries for torch_npu, and the kernel on the executor."""
    libraries = build.runtime()
    return libraries, build.kernel(libraries)


@cache
def without_torch(sanitizer: str | None = None) -> tuple[Path, Path]:
    """The same for C programs."""
    libraries = build.runtime(sanitizer, aten=False)
    return libraries, build.kernel(libraries, sanitizer)


def npu_environment(builtin: bool = False, **options: Any) -> dict[str, str]:
    """The environment of a user's process with torch_npu, our kernel and our C API; builtin adds CANN's own operator."""
    libraries, kernel = with_torch()
    options = {
        "GROUP_NORM_GRAD_KERNEL_DIR": str(kernel),
        "ASCEND_CUSTOM_OPP_PATH": str(opp_path()),
        **options,
    }
    return environment([libraries, *([libraries / "builtin"] if builtin else [])], **options)


def c_environment(sanitizer: str | None = None, **options: Any) -> dict[str, str]:
    """The environment of a C program that is linked to the C API."""
    libraries, kernel = without_torch(sanitizer)
    options = {"GROUP_NORM_GRAD_KERNEL_DIR": str(kernel), **options}
    return environment([libraries, opp_path() / "op_api" / "lib"], torch_npu=False, **options)
