"""What is particular to the CPU kernels: instruction sets, forward statistics, channels of one sample apart from the next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import group_norm_grad

WORKER = Path(__file__).with_name("cpu_isa_worker.py")
FORWARD = torch.ops.group_norm_grad.group_norm_forward
assert group_norm_grad


def run_worker(isa: str, path: Path) -> subprocess.CompletedProcess[str]:
    """The worker under a forced instruction set."""
    return subprocess.run(
        [sys.executable, str(WORKER), str(path)],
        env={**os.environ, "GROUP_NORM_GRAD_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[object, ...], list[Tensor]]:
    """The results of the baseline instruction set."""
    isa = "neon" if os.uname().machine == "aarch64" else "default"
    path = tmp_path_factory.mktemp("isa") / "baseline.pt"
    run = run_worker(isa, path)
    assert run.returncode == 0, run.stderr[-2000:]
    saved = torch.load(path, weights_only=False)
    assert saved["isa"] == isa
    results: dict[tuple[object, ...], list[Tensor]] = saved["results"]
    return results


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_instruction_sets_agree(
    isa: str, baseline: dict[tuple[object, ...], list[Tensor]], tmp_path: Path
) -> None:
    """Each instruction set gives the baseline's results within rounding; one that is missing is refused by name."""
    run = run_worker(isa, tmp_path / "other.pt")
    flags = Path("/proc/cpuinfo").read_text()
    if {"avx2": "avx2", "avx512": "avx512dq"}[isa] not in flags.split():
        assert run.returncode != 0
        assert f"GROUP_NORM_GRAD_ISA={isa}" in run.stderr or "one of neon" in run.stderr
        return
    assert run.returncode == 0, run.stderr[-2000:]
    saved = torch.load(tmp_path / "other.pt", weights_only=False)
    assert saved["isa"] == isa
    for key, others in saved["results"].items():
        for got, want in zip(others, baseline[key], strict=True):
            bound = 8 * torch.finfo(got.dtype).eps * max(1.0, want.double().abs().max().item())
            assert (got.double() - want.double()).abs().max().item() <= bound, key


def test_unknown_instruction_set_is_refused(tmp_path: Path) -> None:
    """The error names what was wanted and what there is."""
    run = run_worker("mmx", tmp_path / "none.pt")
    assert run.returncode != 0
    assert "but got mmx" in run.stderr


def exact_statistics(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation in float64."""
    grouped = x.double().reshape(x.shape[0], groups, -1)
    mean = grouped.mean(-1)
    return mean, ((grouped - mean[..., None]).square().mean(-1) + eps).rsqrt()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("space", [(1,), (3, 3), (7, 7), (40, 50)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4])
def test_forward_statistics(
    dtype: torch.dtype, space: tuple[int, ...], last: bool, offset: float
) -> None:
    """Float32 statistics to float32 rounding, also far from zero and whatever the weight's dtype."""
    torch.manual_seed(0)
    x = (torch.randn(70, 40, *space) + offset).to(dtype)
    if last and len(space) == 2:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(40).to(dtype)
    s = x[0, 0].numel()
    _, mean, rstd = FORWARD(x, weight, None, 70, 40, s, 4, 1e-5)
    want_mean, want_rstd = exact_statistics(x, 4, 1e-5)
    assert mean.dtype == rstd.dtype == torch.float32
    eps = torch.finfo(torch.float32).eps
    finite = torch.isfinite(want_mean)
    assert bool(((mean - want_mean).abs() <= eps * (want_mean.abs() + 8 / want_rstd))[finite].all())
    assert bool(((rstd - want_rstd).abs() <= 64 * eps * want_rstd)[finite].all())


@pytest.mark.parametrize("last", [False, True])
def test_forward_statistics_no_worse_than_atens(last: bool) -> None:
    """At |mean|/std = 1e4 the reciprocal standard deviation is at least as near to float64's as ATen's is."""
    torch.manual_seed(1)
    x = torch.randn(8, 32, 40, 50) + 1e4
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    sizes = (8, 32, 2000, 4, 1e-5)
    _, want = exact_statistics(x, 4, 1e-5)
    ours = (FORWARD(x, None, None, *sizes)[2] - want).abs().max().item()
    atens = (torch.native_group_norm(x, None, None, *sizes)[2] - want).abs().max().item()
    assert ours <= atens + torch.finfo(torch.float32).eps * want.max().item()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(3, 64, 5, 5), (70, 64, 3, 3), (1, 16, 90, 90), (2, 12, 5, 7)])
def test_forward_is_bit_equal_for_any_thread_count(
    shape: tuple[int, ...], last: bool, threads: None
) -> None:
    """No thread count changes a bit of the output or of the statistics."""
    torch.manual_seed(2)
    x = torch.randn(shape)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(FORWARD(x, None, None, *shape[:2], shape[2] * shape[3], 4, 1e-5))
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_keeps_a_nan_in_its_group(dtype: torch.dtype, last: bool) -> None:
    """One NaN makes its group's output NaN, and no other's."""
    x = torch.randn(4, 24, 9, 9).to(dtype)
    x[1, 7, 3, 3] = float("nan")
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    out, mean, rstd = FORWARD(x, None, None, 4, 24, 81, 4, 1e-5)
    is_nan = out.isnan().reshape(4, 4, -1)
    assert bool(is_nan[1, 1].all()) and int(is_nan.all(-1).sum()) == 1
    assert int(is_nan.sum()) == is_nan.shape[-1]
    assert bool(mean[1, 1].isnan()) and bool(rstd[1, 1].isnan())
