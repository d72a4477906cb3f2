"""enable(), disable() and enabled(): whose kernel runs under F.group_norm, and that everything comes back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from cases import MASKS, DTypes, Problem, random_problem, sizes
from reference import NAMES, assert_within, gradients
from torch import Tensor, nn
from torch.autograd.graph import Node

import group_norm_grad

# Far from zero ATen's grad_weight has lost its digits: its bits tell which of the two kernels ran.
PROBLEM = Problem((4, 32, 9, 7), 8, offset=1e4, seed=1)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    assert not group_norm_grad.is_enabled()
    yield
    group_norm_grad.disable()
    assert not group_norm_grad.is_enabled()


def gradients_of(function: object) -> list[Tensor]:
    grad_out, input, _, _, weight, bias = PROBLEM.tensors()
    assert callable(function) and weight is not None and bias is not None
    leaves = [t.requires_grad_() for t in (input, weight, bias)]
    return list(
        torch.autograd.grad(function(input, PROBLEM.groups, weight, bias), leaves, grad_out)
    )


def our_gradients() -> list[Tensor]:
    """Of our operator on the statistics that F.group_norm saves."""
    grad_out, input, _, _, weight, bias = PROBLEM.tensors()
    n, c, s = sizes(PROBLEM.shape)
    _, mean, rstd = torch.native_group_norm(input, weight, bias, n, c, s, PROBLEM.groups, 1e-5)
    operator = torch.ops.group_norm_grad.group_norm_backward
    return list(operator(grad_out, input, mean, rstd, weight, n, c, s, PROBLEM.groups, [True] * 3))


OURS = our_gradients()
ATENS = gradients_of(F.group_norm)


def whose() -> str:
    """Whose kernel computes the backward of F.group_norm now, by the bits of its gradients."""
    got = gradients_of(F.group_norm)
    for name, grads in (("ours", OURS), ("aten", ATENS)):
        if all(map(torch.equal, got, grads)):
            return name
    return "neither"


def test_the_two_kernels_differ_here() -> None:
    assert not torch.equal(OURS[1], ATENS[1]), (
        "the other tests of this file could not tell them apart"
    )


def test_enable_is_idempotent_and_disable_restores_exactly() -> None:
    assert whose() == "aten"
    for _ in range(3):
        group_norm_grad.enable()
        assert whose() == "ours" and group_norm_grad.is_enabled()
    for _ in range(3):
        group_norm_grad.disable()
        assert whose() == "aten" and not group_norm_grad.is_enabled()
    for _ in range(20):
        group_norm_grad.enable()
        group_norm_grad.disable()
    assert whose() == "aten"


def test_blocks_nest() -> None:
    with group_norm_grad.enabled():
        with group_norm_grad.enabled():
            assert whose() == "ours"
        assert whose() == "ours"
    assert whose() == "aten"


def test_a_block_restores_what_it_found() -> None:
    group_norm_grad.enable()
    with group_norm_grad.enabled():
        assert whose() == "ours"
    assert whose() == "ours"
    group_norm_grad.disable()
    assert whose() == "aten"


def test_a_block_restores_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), group_norm_grad.enabled():
        raise ZeroDivisionError
    assert whose() == "aten"


def test_the_kernel_is_chosen_when_the_backward_runs() -> None:
    """A graph built before enable() uses our kernel, one built inside a block and left uses ATen's."""
    grad_out, input, _, _, weight, bias = PROBLEM.tensors()
    assert weight is not None and bias is not None
    weight.requires_grad_()
    output = F.group_norm(input, PROBLEM.groups, weight, bias)
    with group_norm_grad.enabled():
        inside = torch.autograd.grad(output, weight, grad_out)[0]
        second = F.group_norm(input, PROBLEM.groups, weight, bias)
    assert torch.equal(inside, OURS[1])
    assert torch.equal(torch.autograd.grad(second, weight, grad_out)[0], ATENS[1])


def test_existing_modules_use_it() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    images = torch.randn(2, 3, 6, 6)
    model(images)
    with group_norm_grad.enabled(), torch.profiler.profile() as profile:
        model(images).square().sum().backward()
    assert "aten::native_group_norm_backward" in {e.key for e in profile.key_averages()}
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_threads_that_enter_and_leave_at_random() -> None:
    """Blocks of several threads overlap; inside any of them it is our kernel, after all of them ATen's."""
    wrong: list[str] = []

    def work() -> None:
        for _ in range(25):
            with group_norm_grad.enabled():
                if whose() != "ours":
                    wrong.append("not ours inside a block")
            if whose() == "neither":
                wrong.append("neither kernel outside")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong, wrong[:3]
    assert whose() == "aten"


def test_enable_while_another_thread_computes() -> None:
    """Swapping the kernel under a running backward is safe: each result is one kernel's or the other's."""
    stop = threading.Event()
    seen: set[str] = set()

    def compute() -> None:
        while not stop.is_set():
            seen.add(whose())

    worker = threading.Thread(target=compute)
    worker.start()
    for _ in range(200):
        group_norm_grad.enable()
        group_norm_grad.disable()
    stop.set()
    worker.join()
    assert "neither" not in seen


@pytest.mark.usefixtures("poisoned_empty")
def test_atens_operator_is_ours_for_random_problems() -> None:
    """Called as PyTorch calls it (contiguous statistics), for every dtype mix that F.group_norm makes, layout and mask."""
    for seed in range(700_000, 700_400):
        problem = random_problem(seed)
        data, _, affine = problem.dtypes
        stats = affine if problem.has_weight else data
        problem = Problem(
            **{
                **problem.__dict__,
                "dtypes": DTypes(data, stats, affine),
                "offset": min(problem.offset, 3.0),
            }
        )
        if problem.input_layout in ("zero_stride", "expanded_space"):
            continue
        grad_out, input, mean, rstd, weight, _ = problem.tensors()
        n, c, s = sizes(problem.shape)
        with group_norm_grad.enabled():
            got = torch.ops.aten.native_group_norm_backward(
                grad_out, input, mean, rstd, weight, n, c, s, problem.groups, list(problem.mask)
            )
        want = gradients(grad_out, input, mean, rstd, weight, problem.groups)
        for name, wanted, grad, exact in zip(NAMES, problem.mask, got, want, strict=True):
            assert (grad is not None) == wanted
            if grad is not None:
                assert_within(grad, exact, what=f"{name} of {problem}")


def test_every_mask_keeps_atens_contract() -> None:
    """The outputs present, their shapes, dtypes and strides are those of ATen's kernel for each mask."""
    grad_out, input, mean, rstd, weight, _ = PROBLEM.tensors()
    n, c, s = sizes(PROBLEM.shape)
    for mask in MASKS:
        # Without a weight ATen's own kernel cannot make its gradients.
        for w in (weight, None) if not (mask[1] or mask[2]) else (weight,):
            args = (grad_out, input, mean, rstd, w, n, c, s, PROBLEM.groups, mask)
            want = torch.ops.aten.native_group_norm_backward(*args)
            with group_norm_grad.enabled():
                got = torch.ops.aten.native_group_norm_backward(*args)
            for a, b in zip(got, want, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride())


def test_double_backward_stays_right() -> None:
    """PyTorch's own double backward of F.group_norm on top of our first."""
    _, x, _, _, w, b = Problem((2, 8, 5), 4, DTypes(*[torch.float64] * 3)).tensors()
    assert w is not None and b is not None
    for leaf in (x, w, b):
        leaf.requires_grad_()

    def penalty() -> tuple[Tensor, ...]:
        output = F.group_norm(x, 4, w, b)
        first = torch.autograd.grad(output.square().sum(), (x, w), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), (x, w, b))  # type: ignore[arg-type]

    want = penalty()
    with group_norm_grad.enabled():
        torch.testing.assert_close(penalty(), want)


def test_other_norms_and_the_forward_are_untouched() -> None:
    x = torch.randn(3, 8, 5, requires_grad=True)
    assert F.group_norm(x, 4).grad_fn is not None
    calls = {
        "layer_norm": lambda: F.layer_norm(x, (5,)),
        "batch_norm": lambda: F.batch_norm(x, None, None, training=True),
        "instance_norm": lambda: F.instance_norm(x),
    }
    for name, call in calls.items():
        want = torch.autograd.grad(call().square().sum(), x)[0]
        with group_norm_grad.enabled():
            assert torch.equal(torch.autograd.grad(call().square().sum(), x)[0], want), name
    want = F.group_norm(x, 4)
    with group_norm_grad.enabled():
        got = F.group_norm(x, 4)
    assert torch.equal(got, want)
    assert isinstance(got.grad_fn, Node) and type(got.grad_fn) is type(want.grad_fn)


SCRIPT = """
import torch, torch.nn.functional as F, group_norm_grad
x = torch.randn(2, 4, 3, requires_grad=True)
for _ in range(3):
    with group_norm_grad.enabled():
        F.group_norm(x, 2).sum().backward()
    group_norm_grad.enable(); group_norm_grad.disable()
{tail}
"""


@pytest.mark.parametrize(
    "tail", ["", "group_norm_grad.enable()"], ids=["restored", "left_enabled_at_exit"]
)
def test_no_warning_and_a_quiet_exit(tail: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(tail=tail)],
        capture_output=True,
        text=True,
        env=os.environ | {"TORCH_SHOW_CPP_STACKTRACES": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""


def test_compiled_code_after_enable() -> None:
    """aot_eager keeps aten::native_group_norm_backward in the graph, so the swap reaches compiled models too."""
    torch.compiler.reset()
    grad_out, input, _, _, weight, bias = PROBLEM.tensors()
    assert weight is not None and bias is not None
    weight.requires_grad_()
    compiled = torch.compile(F.group_norm, backend="aot_eager")
    with group_norm_grad.enabled():
        got = torch.autograd.grad(compiled(input, PROBLEM.groups, weight, bias), weight, grad_out)[
            0
        ]
    assert torch.equal(got, OURS[1])


def test_a_block_reports_its_state() -> None:
    assert not group_norm_grad.is_enabled()
    with group_norm_grad.enabled():
        assert group_norm_grad.is_enabled()
    assert not group_norm_grad.is_enabled()
