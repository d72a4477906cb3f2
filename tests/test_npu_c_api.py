"""The C API as a C or C++ program uses it: headers, the worked example, its rules, threads; on the loopback device, no torch."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from setup_npu import c_api_sources, kernel_id_flag
from tests.loopback_acl import build
from tests.loopback_acl.environment import VIOLATION_EXIT_CODE, run, run_suite
from tests.loopback_acl.session import c_environment, opp_path, without_torch

PROGRAMS = build.HERE / "programs"
# Calls of each of two threads under ThreadSanitizer and without it.
SANITIZED_CALLS = int(os.environ.get("NPU_SANITIZED_CALLS", "150"))
CALLS = int(os.environ.get("NPU_CALLS", "1000"))


@cache
def program(name: str, sanitizer: str | None = None) -> tuple[Path, Path]:
    """Compiles a program against the installed header and the wheel's ACL headers: its path, and the C API it is linked to."""
    source = next(PROGRAMS.glob(f"{name}.c*"))
    libraries, _ = without_torch(sanitizer)
    flags = [f"-I{path}" for path in [opp_path() / "op_api" / "include", *build.acl_include_dirs()]]
    if sanitizer:
        flags += [f"-fsanitize={sanitizer}", "-g"]

    def make(directory: Path) -> None:
        api = opp_path() / "op_api" / "lib"
        if sanitizer:
            api = directory
            own = [*flags, kernel_id_flag(), f"-I{build.ROOT}", "-fvisibility=hidden"]
            build.compile_and_link(directory / "libcust_opapi.so", c_api_sources(), own, ["-ldl"])
        link = [f"-L{api}", "-lcust_opapi", f"-L{libraries}", "-lnnopbase", "-lascendcl"]
        compiler = ["gcc", "-std=c11"] if source.suffix == ".c" else ["g++", "-std=c++17"]
        warnings = ["-Wall", "-Wextra", "-Werror"]
        output = directory / name
        subprocess.run(
            [
                *compiler,
                *warnings,
                "-O1",
                *flags,
                str(source),
                "-o",
                str(output),
                *link,
                "-pthread",
            ],
            check=True,
        )

    headers = [
        *(build.ROOT / "kernels").rglob("*.h"),
        opp_path() / "op_api" / "lib" / "libcust_opapi.so",
    ]
    directory = build.cached(
        f"program-{name}", [source, *c_api_sources(), *headers], [*flags, str(libraries)], make
    )
    return directory / name, directory if sanitizer else opp_path() / "op_api" / "lib"


@pytest.mark.parametrize("streams", ["async", "eager"])
def test_the_worked_example_prints_the_right_numbers(streams: str) -> None:
    path, _ = program("worked_example")
    lines = run([path], c_environment(streams=streams)).splitlines()
    printed = {words[0]: np.array(words[1:], dtype=float) for words in map(str.split, lines)}
    x = np.arange(1.0, 25).reshape(2, 3, 4)
    mean, rstd = np.array([6.5, 18.5]).reshape(2, 1, 1), float(np.float32(0.2896827))
    xhat = (x - mean) * rstd
    average = x.mean((1, 2), keepdims=True), (x * xhat).mean((1, 2), keepdims=True)
    np.testing.assert_allclose(printed["gradBetaOut"], x.sum((0, 2)))
    np.testing.assert_allclose(printed["gradGammaOut"], (x * xhat).sum((0, 2)), rtol=1e-6)
    # rstd * dy is about 7 and cancels to 1e-7: the bound is in units of what was added up.
    want = rstd * (x - average[0] - xhat * average[1])
    np.testing.assert_allclose(printed["gradInput"].reshape(x.shape), want, atol=8e-6)
    assert set(printed) == {"gradInput", "gradGammaOut", "gradBetaOut"}


def test_the_training_series_without_the_operator_of_cann_says_what_is_missing() -> None:
    path, _ = program("worked_example")
    with pytest.raises(AssertionError, match=r"561003.*on Ascend910A CANN's own .*libopapi_nn.so"):
        run([path], c_environment(soc="Ascend910A"))


def test_without_the_device_binary_the_error_says_how_to_build_it(tmp_path: Path) -> None:
    path, _ = program("worked_example")
    env = c_environment(GROUP_NORM_GRAD_KERNEL_DIR=str(tmp_path))
    with pytest.raises(AssertionError, match=r"returned 561003.*cmake -S kernels.*dav-2201"):
        run([path], env)


@pytest.mark.parametrize("soc", ["Ascend310P3", "Ascend310B1", "Ascend999"])
def test_an_unsupported_product_is_named(soc: str) -> None:
    path, _ = program("worked_example")
    with pytest.raises(AssertionError, match=rf"161002.*'{soc}'; it runs on Ascend910B1 to B4"):
        run([path], c_environment(soc=soc))


@pytest.mark.parametrize(
    "soc", ["Ascend910B4-1", "Ascend910B9", "Ascend910_9399", "Ascend950PR_9589"]
)
def test_products_run_by_family(soc: str) -> None:
    path, _ = program("worked_example")
    assert "gradGammaOut -75.8968" in run([path], c_environment(soc=soc))


def test_the_header_is_c() -> None:
    path, _ = program("c_header")
    run([path], c_environment())


@pytest.mark.parametrize("streams", ["async", "eager"])
@pytest.mark.parametrize("suite", ["c_api_errors", "c_api_calls"])
def test_the_rules_and_what_is_allowed(suite: str, streams: str) -> None:
    assert " passed" in run_suite(suite, c_environment(streams=streams), "--noconftest")


def test_two_threads_with_phases_on_different_threads() -> None:
    path, _ = program("threads")
    output = run([path, str(CALLS)], c_environment(LOOPBACK_ACL_MAX_DELAY_US="20"))
    assert f"{2 * CALLS} calls, 0 wrong" in output


def test_two_threads_under_thread_sanitizer() -> None:
    path, api = program("threads", "thread")
    env = c_environment("thread", LOOPBACK_ACL_MAX_DELAY_US="20", TSAN_OPTIONS="halt_on_error=1")
    env["LD_LIBRARY_PATH"] = f"{api}:{env['LD_LIBRARY_PATH']}"
    output = run([path, str(SANITIZED_CALLS)], env)
    assert f"{2 * SANITIZED_CALLS} calls, 0 wrong" in output


def test_a_violation_shows_in_the_exit_code() -> None:
    """The suites above rely on this."""
    code = "from tests.loopback_acl import acl; acl.start(); acl.library.LoopbackAclViolation(b'planted')"
    done = subprocess.run(
        ["python", "-c", code],
        env=c_environment(),
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == VIOLATION_EXIT_CODE
    assert "VIOLATION: planted" in done.stderr
