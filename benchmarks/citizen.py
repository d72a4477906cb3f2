"""What PyTorch's machinery costs around our operator: every drop-in against F.group_norm, interleaved in one process.

Eager forward and backward, forward alone, per-sample gradients, double backward, compiled code. Kernel speed by itself is
backward.py's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import harness
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import group_norm_grad

GROUPS = 8
RESULTS = Path(__file__).parent / "results" / "citizen.json"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- citizen table: begin -->", "<!-- citizen table: end -->"
Run = Callable[[], object]


class Way(NamedTuple):
    """One way to call group norm: the function, and the scope in which its backward is ours."""

    call: Callable[..., Tensor]
    scope: Callable[[], AbstractContextManager[None]]


def module_call(norm_class: type[nn.GroupNorm]) -> Callable[..., Tensor]:
    """A norm layer as a function of its parameters; the layer is made once for each number of channels."""
    layers: dict[int, nn.GroupNorm] = {}

    def call(
        input: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float = 1e-5
    ) -> Tensor:
        layer = layers.get(input.shape[1])
        if layer is None:
            layer = layers[input.shape[1]] = norm_class(num_groups, input.shape[1], eps)
            layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        output: Tensor = layer(input)
        return output

    return call


WAYS = {
    "F.group_norm": Way(F.group_norm, nullcontext),
    "function": Way(group_norm_grad.group_norm, nullcontext),
    "enabled": Way(F.group_norm, group_norm_grad.enabled),
}
# Modules have parameters of their own, so that their baseline is nn.GroupNorm.
MODULES = {
    "nn.GroupNorm": Way(module_call(nn.GroupNorm), nullcontext),
    "module": Way(module_call(group_norm_grad.GroupNorm), nullcontext),
}


def leaves(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """input (N, C, *), weight (C), bias (C) that require gradients, and an upstream gradient."""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    weight = torch.rand(shape[1], dtype=dtype, requires_grad=True)
    bias = torch.rand(shape[1], dtype=dtype, requires_grad=True)
    return x, weight, bias, torch.randn(shape, dtype=dtype)


def eager(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """Forward and backward, gradients accumulated into the leaves."""
    x, weight, bias, upstream = leaves(shape, dtype)
    return lambda: call(x, GROUPS, weight, bias).backward(upstream)


def no_grad(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """The forward under no_grad."""
    x, weight, bias, _ = leaves(shape, dtype)

    def run() -> Tensor:
        with torch.no_grad():
            return call(x, GROUPS, weight, bias)

    return run


def inference(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """The forward under inference_mode."""
    x, weight, bias, _ = (t.detach() for t in leaves(shape, dtype))

    def run() -> Tensor:
        with torch.inference_mode():
            return call(x, GROUPS, weight, bias)

    return run


def per_sample(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """vmap(grad) over the samples: gradients of input, weight and bias for each."""
    x, weight, bias, upstream = (t.detach() for t in leaves(shape, dtype))

    def loss(x: Tensor, weight: Tensor, bias: Tensor, upstream: Tensor) -> Tensor:
        return (call(x[None], GROUPS, weight, bias) * upstream).sum()

    mapped = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)), (0, None, None, 0))
    return lambda: mapped(x, weight, bias, upstream)


def double_backward(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """The derivative of a gradient penalty, for a graph of first derivatives that is made once."""
    x, weight, bias, upstream = leaves(shape, dtype)
    upstream.requires_grad_()
    first = torch.autograd.grad(
        call(x, GROUPS, weight, bias), (x, weight, bias), upstream, create_graph=True
    )
    second = [torch.randn_like(t) for t in first]
    return lambda: torch.autograd.grad(first, (x, weight, upstream), second, retain_graph=True)


def compiled(call: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """Forward and backward of torch.compile'd code: the norm between two elementwise operations."""
    torch.compiler.reset()
    x, weight, bias, upstream = leaves(shape, dtype)
    function = torch.compile(
        lambda x, w, b: F.silu(call(x * 2, GROUPS, w, b)), fullgraph=True, dynamic=False
    )
    return lambda: function(x, weight, bias).backward(upstream)


class Case(NamedTuple):
    """One row of the table."""

    name: str
    make: Callable[[Callable[..., Tensor], tuple[int, ...], torch.dtype], Run]
    shape: tuple[int, ...]
    dtype: torch.dtype
    modules: bool = False
    """Whether the row compares the modules instead of the functions."""


TINY, MIDDLE = (2, 32, 8, 8), (16, 64, 32, 32)
F32, BF16 = torch.float32, torch.bfloat16
CASES = [
    Case("eager forward+backward", eager, TINY, F32),
    Case("eager forward+backward", eager, TINY, BF16),
    Case("eager forward+backward", eager, MIDDLE, F32),
    Case("eager forward+backward, module", eager, TINY, F32, True),
    Case("no_grad forward", no_grad, TINY, F32),
    Case("no_grad forward, module", no_grad, TINY, F32, True),
    Case("inference_mode forward", inference, TINY, F32),
    Case("vmap(grad)", per_sample, TINY, F32),
    Case("vmap(grad)", per_sample, MIDDLE, F32),
    Case("double backward", double_backward, TINY, F32),
    Case("double backward", double_backward, MIDDLE, F32),
    Case("compiled forward+backward", compiled, TINY, F32),
    Case("compiled forward+backward", compiled, MIDDLE, F32),
]


def measure(runs: dict[str, tuple[Run, Way]], seconds: float) -> dict[str, float]:
    """Median microseconds of each, taken in turns, so that what else the machine does falls on all alike."""
    counts = {}
    for name, (run, way) in runs.items():
        with way.scope():
            for _ in range(3):
                run()
            start = time.perf_counter()
            run()
            counts[name] = max(1, int(5e-4 / (time.perf_counter() - start)))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[next(iter(runs))]) < 5:
        for name, (run, way) in runs.items():
            with way.scope():
                start = time.perf_counter()
                for _ in range(counts[name]):
                    run()
                samples[name].append((time.perf_counter() - start) / counts[name] * 1e6)
    return {name: statistics.median(times) for name, times in samples.items()}


def run_case(case: Case, seconds: float) -> dict[str, float]:
    """The times of every way, the baseline's first."""
    runs: dict[str, tuple[Run, Way]] = {}
    for name, way in (MODULES if case.modules else WAYS).items():
        if case.make is compiled and way.scope is group_norm_grad.enabled:
            # Compiled code calls ATen's operator, whose kernel is looked up when it runs.
            runs[name] = runs["F.group_norm"][0], way
            continue
        with way.scope():
            runs[name] = case.make(way.call, case.shape, case.dtype), way
    return measure(runs, seconds)


def table(record: dict[str, Any]) -> str:
    """The record as markdown: microseconds, and the ratio to F.group_norm (nn.GroupNorm for a module)."""
    machine = record["machine"]
    lines = [
        f"torch {machine['torch']}, {record['threads']} threads, {machine['processor']} ({machine['architecture']},",
        f"{machine['torch_capability']}); medians of calls taken in turns in one process, in microseconds;",
        "freed memory stays with the allocator.",
        "",
        "| what | shape | dtype | F.group_norm | function | module | enabled |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for row in record["rows"]:
        base, *ours = row["us"].items()
        cells = {name: f"{time:.1f} ({time / base[1]:.2f}x)" for name, time in ours}
        shown = [cells.get(name, "") for name in ("function", "module", "enabled")]
        shape = "x".join(map(str, row["shape"]))
        lines.append(
            f"| {row['name']} | {shape} | {row['dtype']} | {base[1]:.1f} | {' | '.join(shown)} |"
        )
    return "\n".join(lines)


def with_table(text: str, content: str) -> str:
    """benchmarks/README.md with the content between its two markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Measures, prints the table, and keeps the numbers and benchmarks/README.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="time for one row")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument(
        "--save", action="store_true", help=f"write {RESULTS.name} and the table in README.md"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    harness.keep_allocator_warm()  # or page faults fall on one way or the other by the state of the heap
    machine = {key: value for key, value in harness.machine().items() if key != "load_average"}
    rows = [
        {
            "name": case.name,
            "shape": case.shape,
            "dtype": str(case.dtype).removeprefix("torch."),
            "us": run_case(case, options.seconds),
        }
        for case in CASES
        if options.only in case.name
    ]
    # Rounded here, so that the table is made of what is kept.
    record = harness.rounded({"machine": machine, "threads": options.threads, "rows": rows})
    print(table(record))
    if options.save:
        harness.save(RESULTS, record)
        README.write_text(with_table(README.read_text(), table(record)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
