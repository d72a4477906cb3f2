"""What is particular to the CPU kernels: instruction sets, forward statistics, channels of one sample apart from the next."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import group_norm_grad
from group_norm_grad import _C

WORKER = Path(__file__).with_name("cpu_isa_worker.py")
FORWARD = torch.ops.group_norm_grad.group_norm_forward
BACKWARD = torch.ops.group_norm_grad.group_norm_backward
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


def test_plan_is_described() -> None:
    """The plan names its schedule, and tells by name what it cannot describe."""
    plan = _C.describe_plan("backward", "float32", False, 2, 8, 100, 4)
    assert plan.startswith("schedule=fused_rows ") and "non_temporal=no" in plan
    assert "non_temporal=yes" in _C.describe_plan("forward", "float32", True, 1, 64, 2**40, 1)
    for shape, prefetch in [((64, 64, 49), "yes"), ((1, 64, 2**20), "no")]:
        plan = _C.describe_plan("backward", "float32", True, *shape, 4)
        assert plan.endswith(f" prefetch={prefetch}"), plan
    for bad, text in [
        (("sideways", "float32", False, 2, 8, 100, 4), "sideways"),
        (("backward", "int8", False, 2, 8, 100, 4), "int8"),
        (("backward", "float32", False, 0, 8, 100, 4), "N=0"),
        (("backward", "float32", False, 2, 8, 100, 3), "num_groups=3"),
    ]:
        with pytest.raises(RuntimeError, match=text):
            _C.describe_plan(*bad)


# (N, C, space, G) whose tensors are more than the last cache holds, in the shapes that differ: rows
# that end with a vector, rows that do not, rows longer than a chunk, short rows of many samples and
# of few.
LARGE = [
    (64, 64, (64, 64), 8),
    (1024, 256, (7, 9), 32),
    (2, 96, (257, 401), 3),
    (6000, 512, (2, 2), 32),
    (48, 4096, (5, 5), 32),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", LARGE)
def test_results_past_the_caches(
    shape: tuple[int, int, tuple[int, int], int], last: bool, threads: None
) -> None:
    """A batch too large for the caches gives every sample the output and grad_input that it has alone."""
    N, C, space, G = shape
    torch.manual_seed(3)
    form = torch.channels_last if last else torch.contiguous_format
    x, grad_out = (torch.randn(N, C, *space).contiguous(memory_format=form) for _ in range(2))
    weight, bias = torch.randn(C), torch.randn(C)
    S = math.prod(space)
    torch.set_num_threads(1)
    out, mean, rstd = FORWARD(x, weight, bias, N, C, S, G, 1e-5)
    grad_input = BACKWARD(grad_out, x, mean, rstd, weight, N, C, S, G, [True, False, False])[0]
    for n in {0, 1, N // 2, N - 1}:
        one = slice(n, n + 1)
        alone = FORWARD(x[one], weight, bias, 1, C, S, G, 1e-5)
        grad_alone = BACKWARD(
            grad_out[one], x[one], *alone[1:], weight, 1, C, S, G, [True, False, False]
        )[0]
        torch.testing.assert_close(out[one], alone[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(grad_input[one], grad_alone, rtol=1e-5, atol=1e-6)


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
