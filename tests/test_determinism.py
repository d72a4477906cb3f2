"""Bit-equal results for any number of threads and from run to run; no accuracy here."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
import torch
from cases import BF16, EPS, F16, F32, F64, MASKS, DTypes, Problem, random_problem, sizes
from torch import Tensor

import group_norm_grad

pytestmark = pytest.mark.usefixtures("threads")

Grads = list[Tensor | None]

# Big enough that work is divided among threads in every way that a schedule can divide it: over samples, over groups,
# over channels of one group and along one row.
DIVIDED: dict[str, tuple[tuple[int, ...], int]] = {
    "many_samples": ((64, 32, 7, 7), 8),
    "many_groups": ((1, 256, 28, 28), 32),
    "one_group": ((1, 128, 40, 40), 1),
    "two_long_rows": ((1, 2, 300_007), 2),
    "channels_of_one_value": ((4096, 64), 8),
    "odd_counts": ((3, 21, 37, 41), 7),
    "video": ((2, 32, 4, 16, 16), 8),
}
DTYPE_SETS = (
    DTypes(F32, F32, F32),
    DTypes(F64, F64, F64),
    DTypes(F16, F32, F16),
    DTypes(BF16, F32, BF16),
    DTypes(BF16, F32, F32),
)


# Numpy's arrays, so that no operator of PyTorch starts the threads.
COUNT_THREADS = """
import os, numpy, torch, group_norm_grad
torch.set_num_threads(2)
x, one = (torch.from_numpy(numpy.ones(shape, "float32")) for shape in ((16, 64, 1024), (16, 8)))
before = len(os.listdir("/proc/self/task"))
torch.ops.group_norm_grad.group_norm_backward(x, x, one, one, None, 16, 64, 1024, 8, [True] * 3)
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_work_is_divided_among_threads() -> None:
    """A second thread starts with the first large problem: without one, all of this file would hold for nothing."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 1


def backward(problem: Problem) -> Grads:
    grad_out, input, mean, rstd, weight, _ = problem.tensors()
    n, c, s = sizes(problem.shape)
    return list(
        torch.ops.group_norm_grad.group_norm_backward(
            grad_out, input, mean, rstd, weight, n, c, s, problem.groups, list(problem.mask)
        )
    )


def same_bits(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> bool:
    """Equal bit by bit, so that zeros of either sign and NaN count as well."""
    for left, right in zip(a, b, strict=True):
        if left is None or right is None:
            if left is not right:
                return False
            continue
        integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[left.element_size()]
        if left.stride() != right.stride() or not torch.equal(
            left.view(integer), right.view(integer)
        ):
            return False
    return True


def divided(shape_id: str, dtypes: DTypes, layout: str, mask: list[bool] | None = None) -> Problem:
    shape, groups = DIVIDED[shape_id]
    kept = mask or [True, True, True]
    return Problem(
        shape,
        groups,
        dtypes,
        mask=(kept[0], kept[1], kept[2]),
        offset=3.0,
        input_layout=layout,
        grad_layout=layout,
        seed=1,
    )


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize("dtypes", DTYPE_SETS, ids=str)
@pytest.mark.parametrize("shape_id", DIVIDED)
def test_threads(shape_id: str, dtypes: DTypes, layout: str) -> None:
    """1, 2, 3 and 5 threads: 3 and 5 divide the work unevenly whatever the machine's core count."""
    problem = divided(shape_id, dtypes, layout)
    torch.set_num_threads(1)
    want = backward(problem)
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        assert same_bits(backward(problem), want), f"{threads} threads differ from one: {problem}"


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_threads_for_every_mask(mask: list[bool]) -> None:
    for layout in ("contiguous", "channels_last"):
        problem = divided("odd_counts", DTypes(F32, F32, F32), layout, mask)
        torch.set_num_threads(1)
        want = backward(problem)
        torch.set_num_threads(2)
        assert same_bits(backward(problem), want), problem


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape_id", DIVIDED)
def test_twenty_runs(shape_id: str, layout: str) -> None:
    for dtypes in DTYPE_SETS[::3]:
        problem = divided(shape_id, dtypes, layout)
        torch.set_num_threads(2)
        want = backward(problem)
        for run in range(20):
            assert same_bits(backward(problem), want), f"run {run} differs: {problem}"


def test_threads_on_random_problems() -> None:
    for seed in range(500_000, 500_300):
        problem = random_problem(seed)
        torch.set_num_threads(1)
        want = backward(problem)
        torch.set_num_threads(2)
        assert same_bits(backward(problem), want), problem


def test_concurrent_callers() -> None:
    """Calls from several Python threads at once share no scratch memory."""
    problems = [divided(shape_id, DTYPE_SETS[0], "contiguous") for shape_id in DIVIDED]
    torch.set_num_threads(1)
    want = [backward(problem) for problem in problems]
    wrong: list[str] = []

    def call() -> None:
        for _ in range(3):
            for problem, expected in zip(problems, want, strict=True):
                if not same_bits(backward(problem), expected):
                    wrong.append(repr(problem))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong, wrong


def test_autograd_end_to_end() -> None:
    """Output, statistics and gradients of the function, for 1 and 2 threads."""
    problem = divided("many_groups", DTYPE_SETS[3], "channels_last")
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        grad_out, input, _, _, weight, bias = problem.tensors()
        assert weight is not None and bias is not None
        leaves = [t.requires_grad_() for t in (input, weight, bias)]
        output = group_norm_grad.group_norm(input, problem.groups, weight, bias, EPS)
        results.append([output.detach(), *torch.autograd.grad(output, leaves, grad_out)])
    assert same_bits(results[0], results[1])
