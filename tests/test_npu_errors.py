"""Refusals on npu tensors, of arguments, products and missing parts; in processes of their own, as the task queue is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback_acl import build
from tests.loopback_acl.environment import environment, run, run_suite
from tests.loopback_acl.session import npu_environment, opp_path, with_torch

CALL = """
import torch, group_norm_grad
x, dy, mean, rstd = (torch.randn(shape).npu() for shape in [(2, 4, 3), (2, 4, 3), (2, 2), (2, 2)])
try:
    BACKWARD.group_norm_backward(dy, x, mean, rstd, None, 2, 4, 3, 2, [True, False, False])
except Exception as error:
    print(type(error).__name__, error)
else:
    print("no error")
print("alive", float(x.cpu().abs().sum()) > 0)
"""


@pytest.mark.parametrize("task_queue", [0, 1, 2])
def test_arguments(task_queue: int) -> None:
    env = npu_environment(task_queue=task_queue, LOOPBACK_ACL_DEVICES="2")
    assert " passed" in run_suite("errors", env)


def call(
    env: dict[str, str],
    backward: str = "torch.ops.group_norm_grad.group_norm_backward",
    code: str = CALL,
) -> str:
    """Runs one backward on npu and returns what came of it; the process must live on and end cleanly."""
    code = code.replace("BACKWARD.group_norm_backward", backward)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "alive True" in done.stdout
    return done.stdout


def report(env: dict[str, str]) -> str:
    """What `python -m group_norm_grad` prints before any npu tensor was made."""
    return run([sys.executable, "-m", "group_norm_grad"], env)


@pytest.mark.parametrize("soc", ["Ascend310P3", "Ascend310B1"])
def test_a_product_without_a_kernel_is_named(soc: str) -> None:
    output = call(npu_environment(soc=soc))
    assert f"NotImplementedError group_norm_grad has no kernel for the NPU '{soc}'" in output
    assert "Ascend910B1 to B4, Ascend910_93* and Ascend950*" in output


def test_the_training_series_has_no_bfloat16() -> None:
    code = CALL.replace("torch.randn(shape)", "torch.randn(shape).bfloat16()")
    output = call(npu_environment(soc="Ascend910A"), code=code)
    assert "NotImplementedError" in output
    assert "not implemented for 'BFloat16' on Ascend910A: expected Float or Half" in output


@pytest.mark.parametrize("task_queue", [0, 1, 2])
def test_without_the_device_binary_the_error_says_how_to_build_it(
    tmp_path: Path, task_queue: int
) -> None:
    output = call(npu_environment(task_queue=task_queue, GROUP_NORM_GRAD_KERNEL_DIR=str(tmp_path)))
    assert (
        "RuntimeError the device binary of the group-norm-gradient kernel cannot be loaded"
        in output
    )
    assert "-DCMAKE_ASC_ARCHITECTURES=dav-2201" in output


def test_a_kernel_library_of_another_version_is_refused(tmp_path: Path) -> None:
    """As left over from an older build: its kernel may mean something else by the same plan."""
    source = tmp_path / "old.c"
    source.write_text(
        'const char* GroupNormGradKernelId(void){return "0123";} int GroupNormGradKernelLaunch(void){return 0;}'
    )
    library = tmp_path / "libgroup_norm_grad_kernel_2201.so"
    subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    output = call(npu_environment(GROUP_NORM_GRAD_KERNEL_DIR=str(tmp_path)))
    assert "is not of this version of group_norm_grad; build it again" in output


INTERNAL_FORMAT = """
import torch_npu
torch.npu.config.allow_internal_format = True
image = torch_npu.empty_with_format((2, 4, 3, 1), dtype=torch.float32, device="npu", acl_format=3)
dy = torch.randn(2, 4, 3, 1).npu()
"""


def test_an_image_in_a_format_of_the_matrix_unit_is_not_taken_for_row_major() -> None:
    """Its strides do not show it. The cast is an operator of CANN, which the loopback device does not have."""
    code = CALL.replace("try:", INTERNAL_FORMAT + "try:").replace("(dy, x,", "(dy, image,")
    output = call(npu_environment(task_queue=0), code=code)
    assert "OPS function error: Identity" in output


@pytest.mark.parametrize(
    ("soc", "said"),
    [
        ("Ascend910B3", "our kernel, on Ascend910B3"),
        ("Ascend910A", "composed of ATen operators, on Ascend910A"),
        ("Ascend310P3", "group_norm_grad has no kernel for the NPU 'Ascend310P3'"),
    ],
)
def test_the_report_says_what_runs_on_the_product(soc: str, said: str) -> None:
    rows = re.findall(r"^backward on npu +(.*)", report(npu_environment(soc=soc)), re.M)
    assert len(rows) == 1 and rows[0].startswith(said)


def test_the_report_says_that_the_device_binary_is_absent(tmp_path: Path) -> None:
    output = report(npu_environment(GROUP_NORM_GRAD_KERNEL_DIR=str(tmp_path)))
    assert "the device binary of the group-norm-gradient kernel cannot be loaded" in output


def test_unmodified_torch_needs_the_custom_path() -> None:
    """Without ASCEND_CUSTOM_OPP_PATH nothing here has the operator: what the other tests ran was our C API."""
    aten = "torch.ops.aten.native_group_norm_backward"
    libraries, kernel = with_torch()
    env = environment([libraries], task_queue=0, GROUP_NORM_GRAD_KERNEL_DIR=str(kernel))
    assert "does not exist here" in call(env, aten)
    assert "no error" in call(env | {"ASCEND_CUSTOM_OPP_PATH": str(opp_path())}, aten)


def test_importing_us_does_not_import_torch_npu() -> None:
    """With torch_npu installed but not loaded by torch, as users have it who set TORCH_DEVICE_BACKEND_AUTOLOAD=0."""
    code = (
        "import sys, group_norm_grad, torch; group_norm_grad.group_norm(torch.randn(2, 4, 3), 2);"
        "print('torch_npu' in sys.modules); from group_norm_grad import _C; print(_C.describe_npu())"
    )
    env = npu_environment(TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["False", "built; loaded at the first npu tensor"]
