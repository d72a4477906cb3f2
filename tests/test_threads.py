"""Threads, processes and long runs over every drop-in: values stay right, nothing leaks, nothing hangs.

Bit-equality over numbers of threads is in test_determinism. Data races and memory errors are for `make sanitize`, which
runs this file under the sanitizers.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DROPINS,
    DropIn,
    assert_agree,
    child_environment,
    device,
    double_on,
    dropin,
    feature,
    make_leaves,
    plain_group_norm,
)
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import group_norm_grad

GROUPS = 4
SHAPE = (3, 8, 9, 7)
HERE = Path(__file__).parent
NO_SWITCH = "nothing to switch on or off"
# Sanitized code is 5 to 20 times slower.
SHORT = os.environ.get("GROUP_NORM_GRAD_TEST_SHORT") == "1"


def gradients(call: Callable[..., Tensor], device: str, seed: int) -> list[Tensor]:
    x, weight, bias, upstream = make_leaves(SHAPE, device, double_on(device), seed=seed)
    output = call(x, GROUPS, weight, bias, 1e-2)
    return [output, *torch.autograd.grad(output, (x, weight, bias), upstream)]


@feature("eight Python threads, forward and backward")
def test_eight_threads(dropin: DropIn, device: str) -> None:
    """Each thread its own tensors, all at once; and all of them one graph, whose gradients add up."""
    repeats = 5 if SHORT else 40
    want = [gradients(plain_group_norm, device, seed) for seed in range(8)]
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        barrier.wait(timeout=60)
        for _ in range(repeats):
            assert_agree(gradients(dropin.call, device, seed), want[seed], device)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, seed) for seed in range(8)]:
            future.result(timeout=200)

    x, weight, bias, upstream = make_leaves(SHAPE, device, double_on(device))
    output = dropin.call(x, GROUPS, weight, bias, 1e-2)
    once = torch.autograd.grad(output, (x, weight, bias), upstream, retain_graph=True)
    with ThreadPoolExecutor(8) as pool:
        shared = [
            pool.submit(torch.autograd.grad, output, (x, weight, bias), upstream, retain_graph=True)
            for _ in range(16)
        ]
        for future in shared:
            assert all(map(torch.equal, future.result(timeout=200), once))


@pytest.mark.feature(
    "enable() and disable() from several threads",
    dropin="enabled",
    not_applicable={"function": NO_SWITCH, "module": NO_SWITCH},
)
def test_enable_and_disable_from_threads(device: str) -> None:
    """Threads that swap the kernel at random while others compute: gradients are always one of the two kernels' right ones."""
    repeats = 5 if SHORT else 60
    want = gradients(plain_group_norm, device, 0)
    done = threading.Event()

    def swap(number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        while not done.is_set():
            choice = int(torch.randint(3, (), generator=generator))
            if choice == 0:
                group_norm_grad.enable()
            elif choice == 1:
                group_norm_grad.disable()
            else:
                with group_norm_grad.enabled():
                    assert group_norm_grad.is_enabled()

    def compute() -> None:
        for _ in range(repeats):
            assert_agree(gradients(F.group_norm, device, 0), want, device)

    with ThreadPoolExecutor(8) as pool:
        swaps = [pool.submit(swap, number) for number in range(4)]
        try:
            for future in [pool.submit(compute) for _ in range(4)]:
                future.result(timeout=200)
        finally:
            done.set()
        for future in swaps:
            future.result(timeout=60)
    group_norm_grad.disable()
    assert not group_norm_grad.is_enabled()


class Normalised(Dataset[Tensor]):
    """Samples that go through a drop-in, and its backward, inside a DataLoader worker."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        chosen = DROPINS[self.name]
        with chosen.scope():
            return gradients(chosen.call, "cpu", index)[1].detach()


@feature("DataLoader workers, fork and spawn")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers(context: str, dropin: DropIn) -> None:
    """The parent has computed before it forks, with threads, as training scripts do."""
    want = torch.stack([gradients(dropin.call, "cpu", i)[1].detach() for i in range(6)])
    loader = DataLoader(
        Normalised(dropin.name),
        batch_size=3,
        num_workers=2,
        multiprocessing_context=context,
        timeout=90,
    )
    torch.testing.assert_close(torch.cat(list(loader)), want)


CHILD = """
import os, sys
sys.path.insert(0, {here!r})
import torch, group_norm_grad
from dropins import DROPINS
from test_threads import gradients
chosen = DROPINS[{name!r}]
def run(queue, seed):
    torch.set_num_threads(1)
    with chosen.scope():
        queue.put([t.detach().numpy() for t in gradients(chosen.call, "cpu", seed)])
if __name__ == "__main__":
    import torch.multiprocessing as mp
    context = mp.get_context({method!r})
    with chosen.scope():
        want = [gradients(chosen.call, "cpu", seed) for seed in range(2)]
        for seed in range(2):
            queue = context.SimpleQueue()
            process = context.Process(target=run, args=(queue, seed))
            process.start()
            got = queue.get()
            process.join(60)
            assert process.exitcode == 0, process.exitcode
            for g, w in zip(got, want[seed], strict=True):
                torch.testing.assert_close(torch.from_numpy(g), w.detach())
        assert group_norm_grad.is_enabled() is ({name!r} == "enabled")
    print("done")
"""


@feature("multiprocessing: fork after import, spawn, forkserver")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, dropin: DropIn, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(CHILD.format(here=str(HERE), name=dropin.name, method=method))
    ran = subprocess.run(
        [sys.executable, str(script)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0 and ran.stdout.endswith("done\n"), ran.stderr[-3000:]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@feature("no leak over 10,000 steps")
def test_ten_thousand_steps(dropin: DropIn) -> None:
    """Forward, backward and every now and then a double backward; Python's and the process's memory stay flat.

    A leak of one 4 KiB tensor a step would be 40 MB.
    """
    steps = 300 if SHORT else 10_000
    x, weight, bias, upstream = make_leaves((2, 8, 8, 8), dtype=torch.float32)

    def step(number: int) -> None:
        output = dropin.call(x, GROUPS, weight, bias)
        if number % 50:
            torch.autograd.grad(output, (x, weight, bias), upstream)
            return
        first = torch.autograd.grad(output, (x, weight), upstream, create_graph=True)
        torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))
        torch.func.vmap(torch.func.grad(lambda t: dropin.call(t[None], GROUPS).sin().sum()))(
            x.detach()
        )

    for number in range(steps // 5):
        step(number)
    gc.collect()
    tracemalloc.start()
    step(0), step(1)
    python_before, resident_before = tracemalloc.get_traced_memory()[0], resident_bytes()
    for number in range(steps):
        step(number)
    gc.collect()
    python_after, resident_after = tracemalloc.get_traced_memory()[0], resident_bytes()
    tracemalloc.stop()
    assert python_after - python_before < 100_000, (
        f"{python_after - python_before} bytes of Python objects more"
    )
    # AddressSanitizer keeps freed memory for a while.
    assert SHORT or resident_after - resident_before < 8e6, (
        f"{resident_after - resident_before} resident bytes more"
    )


@feature("no leak over 10,000 steps")
def test_nodes_and_saved_tensors_are_freed(dropin: DropIn) -> None:
    """What a graph holds goes away with it, also when it was never run, or failed half-way."""
    import weakref

    def saved() -> tuple[Tensor, weakref.ref[Tensor]]:
        x, weight, bias, _ = make_leaves((2, 8, 8), dtype=torch.float32)
        held = x * 1
        return dropin.call(held, GROUPS, weight, bias), weakref.ref(held)

    output, ref = saved()
    assert ref() is not None or output.grad_fn is not None
    with pytest.raises(RuntimeError, match="shape"):
        output.backward(torch.ones(1, 2))
    output.sum().backward()
    del output
    assert ref() is None
    before = resident_bytes()
    for _ in range(20 if SHORT else 300):
        x = torch.zeros(16, 8, 128, 128, requires_grad=True)
        dropin.call(x, GROUPS)  # 8 MiB saved in a graph that is dropped
    assert resident_bytes() - before < 200e6
