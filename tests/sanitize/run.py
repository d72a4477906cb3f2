"""Builds the extension with a sanitizer, and runs the CPU tests that it applies to. No test here.

    python tests/sanitize/run.py address|thread [pytest options]

address: AddressSanitizer and UndefinedBehaviorSanitizer over the whole CPU suite but for compilers and process groups. Leaks
are test_threads' matter, as Python itself never frees all it has. thread: ThreadSanitizer over everything that uses threads.
It cannot see the barriers of the OpenMP runtime that comes with torch, so omp_threads.cpp takes that runtime's place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITES = {
    "address": """numerics determinism errors autograd override modules opinfo citizen_autograd citizen_modules
        transforms autocast threads""",
    "thread": "threads determinism override",
}
# Processes that a test starts do not have the sanitizer's libraries in front.
DESELECT = {
    "address": "not process and not worker and not quiet_exit and not pickle and not compiled and not symbolic",
    "thread": "eight or enable_and_disable or concurrent or threads_that or another_thread or test_threads or twenty",
}


def library(name: str) -> str:
    """The path of one of the compiler's libraries."""
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    path = Path(found.stdout.strip())
    if not path.is_absolute():
        raise SystemExit(f"{compiler} has no {name}")
    return str(path.resolve())


def build(sanitizer: str, out: Path) -> Path:
    """The package, built under out/lib; the AVX2 kernels, whose tails read like those of every other instruction set."""
    env = os.environ | {
        "GROUP_NORM_GRAD_DEBUG": sanitizer,
        "GROUP_NORM_GRAD_NPU": "0",
        "GROUP_NORM_GRAD_BUILD_ISA": "default,avx2" if os.uname().machine == "x86_64" else "neon",
    }
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build",
        f"--build-base={out}",
        f"--build-lib={out / 'lib'}",
    ]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    return out / "lib"


def main() -> int:
    """Builds, tests, and returns pytest's exit code, or 99 after a sanitizer's report, which is printed."""
    sanitizer, *options = sys.argv[1:]
    out = ROOT / "out" / f"sanitize_{sanitizer}"
    package = build(sanitizer, out)
    reports = out / "reports"  # on standard error they would be captured by pytest
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    log = f"log_path={reports}/report:exitcode=99"
    env = os.environ | {
        "GROUP_NORM_GRAD_TEST_SHORT": "1",
        "PYTHONPATH": str(package),
        "OMP_NUM_THREADS": "2",
    }
    if sanitizer == "address":
        # libstdc++ in front as well, or ASan does not find __cxa_throw.
        preload = [library("libasan.so"), library("libubsan.so"), library("libstdc++.so.6")]
        # A small quarantine of freed memory, or it looks like a leak to the tests of the resident size.
        env["ASAN_OPTIONS"] = (
            f"{log}:detect_leaks=0:abort_on_error=0:detect_stack_use_after_return=1:quarantine_size_mb=64"
        )
        env["UBSAN_OPTIONS"] = f"{log}:print_stacktrace=1"
    else:
        omp = out / "libomp_threads.so"
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        source = Path(__file__).with_name("omp_threads.cpp")
        flags = ["-std=c++20", "-O1", "-g", "-fPIC", "-shared", "-fsanitize=thread"]
        subprocess.run([str(compiler), *flags, str(source), "-o", str(omp)], check=True)
        preload = [library("libtsan.so"), str(omp)]
        suppressions = Path(__file__).with_name("thread_suppressions.txt")
        env["TSAN_OPTIONS"] = f"{log}:suppressions={suppressions}:history_size=7:die_after_fork=0"
    env["LD_PRELOAD"] = ":".join(preload)
    tests = [str(ROOT / "tests" / f"test_{name}.py") for name in SUITES[sanitizer].split()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:xdist",
        "-k",
        DESELECT[sanitizer],
        *tests,
        *options,
    ]
    where = subprocess.run(
        [sys.executable, "-c", "import group_norm_grad; print(group_norm_grad.__file__)"],
        cwd=package,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    if not where.stdout.strip().startswith(str(package)):
        raise SystemExit(
            f"tests would run {where.stdout.strip()}, not the sanitized build in {package}"
        )
    code = subprocess.run(command, cwd=package, env=env, check=False).returncode
    found = [path.read_text() for path in sorted(reports.iterdir())]
    print("\n".join(found) or f"{sanitizer}: no report")
    return 99 if found else code


if __name__ == "__main__":
    raise SystemExit(main())
