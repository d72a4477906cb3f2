"""Times our kernels against ATen's (and torch.compile's) in one process, interleaved, behind a correctness gate.

    python benchmarks/backward.py [--direction backward|forward|both] [--compile backward|...] [--json PATH] [--plot PATH]

Bytes count each tensor of the shape once: grad_out, input and grad_input; input and output; all five for both.
Ratios are of the fastest rounds, which other work on the machine disturbs least; the JSON has the medians and quantiles too.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import harness
import torch
import torch.nn.functional as F
from harness import DTYPES, geomean
from shapes import SHAPES, Shape
from torch import Tensor

import group_norm_grad
from group_norm_grad import _C

OURS = torch.ops.group_norm_grad
ATEN = torch.ops.aten
EPS = 1e-5
TENSORS = {"backward": 3, "forward": 2, "both": 5}
MMAP_BYTES = 32 << 20  # glibc never keeps a larger block


def make_inputs(
    shape: Shape, dtype: torch.dtype, layout: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """grad_out, input, weight, bias: random, with an offset, in a layout."""
    torch.manual_seed(0)
    size = (shape.N, shape.C, *shape.space)
    x = (torch.randn(size) + 3).to(dtype)
    grad_out = torch.randn(size).to(dtype)
    if layout == "nhwc":
        of_dims = {4: torch.channels_last, 5: torch.channels_last_3d}[len(size)]
        x, grad_out = (t.contiguous(memory_format=of_dims) for t in (x, grad_out))
    return grad_out, x, (torch.rand(shape.C) + 0.5).to(dtype), torch.randn(shape.C).to(dtype)


def statistics(shape: Shape, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """ATen's mean and rstd, which every backward is given."""
    sizes = (shape.N, shape.C, shape.S, shape.G)
    _, mean, rstd = ATEN.native_group_norm(x, weight, bias, *sizes, EPS)
    return mean, rstd


def expected(
    shape: Shape, direction: str, tensors: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, ...]:
    """The results in float64: of the backward on the statistics given, of the others on exact ones."""
    grad_out, x, weight, bias = tensors
    N, C, S, G = shape.N, shape.C, shape.S, shape.G
    grouped = (N, G, C // G, S)
    dy, xd = grad_out.double().reshape(grouped), x.double().reshape(grouped)
    w = weight.double().reshape(1, G, C // G, 1)
    if direction == "backward":
        mean, rstd = (t.double().reshape(N, G, 1, 1) for t in statistics(shape, x, weight, bias))
    else:
        mean = xd.mean((2, 3), keepdim=True)
        rstd = (xd.var((2, 3), unbiased=False, keepdim=True) + EPS).rsqrt()
    xhat = (xd - mean) * rstd
    if direction == "forward":
        return ((xhat * w + bias.double().reshape(1, G, C // G, 1)).reshape(x.shape),)
    weighted = w * dy
    grad_input = rstd * (
        weighted
        - weighted.mean((2, 3), keepdim=True)
        - xhat * (weighted * xhat).mean((2, 3), keepdim=True)
    )
    return (
        grad_input.reshape(x.shape),
        (dy * xhat).sum((0, 3)).reshape(C),
        dy.sum((0, 3)).reshape(C),
    )


def make_calls(
    shape: Shape, direction: str, tensors: tuple[Tensor, Tensor, Tensor, Tensor], compiled: bool
) -> dict[str, Callable[[], Any]]:
    """The calls to compare; torch.compile'd ones are of this shape alone, and never fall back to eager."""
    torch.compiler.reset()
    compiler = partial(torch.compile, dynamic=False, fullgraph=True)
    grad_out, x, weight, bias = tensors
    sizes = (shape.N, shape.C, shape.S, shape.G)
    if direction == "both":
        leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias)]

        def both(group_norm: Callable[..., Tensor]) -> Callable[[], Any]:
            def call() -> Any:
                out = group_norm(leaves[0], shape.G, leaves[1], leaves[2], EPS)
                return torch.autograd.grad(out, leaves, grad_out)

            return call

        calls = {"ours": both(group_norm_grad.group_norm), "aten": both(F.group_norm)}
        if compiled:
            calls["compile"] = both(compiler(F.group_norm))
        return calls
    if direction == "forward":
        forwards: dict[str, Any] = {"ours": OURS.group_norm_forward, "aten": ATEN.native_group_norm}
        if compiled:
            forwards["compile"] = compiler(lambda *a: ATEN.native_group_norm(*a))
        arguments = (x, weight, bias, *sizes, EPS)
        return {name: partial(f, *arguments) for name, f in forwards.items()}
    mean, rstd = statistics(shape, x, weight, bias)
    backwards: dict[str, Any] = {
        "ours": OURS.group_norm_backward,
        "aten": ATEN.native_group_norm_backward,
    }
    if compiled:
        backwards["compile"] = compiler(lambda *a: ATEN.native_group_norm_backward(*a))
    given = (grad_out, x, mean, rstd, weight, *sizes, [True, True, True])
    return {name: partial(f, *given) for name, f in backwards.items()}


def check(
    shape: Shape,
    direction: str,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor],
    call: Callable[[], Any],
) -> None:
    """Our results against float64, before anything is timed."""
    for i, (got, want) in enumerate(
        zip(call(), expected(shape, direction, tensors), strict=direction != "forward")
    ):
        harness.gate(f"{shape.name} {direction} result {i}", got, want)


def stream_seconds(x: Tensor, seconds: float) -> float:
    """A read of two tensors and a write of a third, of x's size: the limit of the backward."""
    a, b, out = (torch.ones(x.numel(), dtype=x.dtype) for _ in range(3))
    return harness.measure({"stream": lambda: torch.add(a, b, out=out)}, seconds)["stream"].best


def run_case(
    shape: Shape, direction: str, dtype: str, layout: str, threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Gate and time one case; the record of it."""
    torch.set_num_threads(threads)
    tensors = make_inputs(shape, DTYPES[dtype], layout)
    calls = make_calls(shape, direction, tensors, direction in options.compile)
    check(shape, direction, tensors, calls["ours"])
    times = harness.measure(calls, options.seconds)
    plans = {
        one: _C.describe_plan(
            one, str(DTYPES[dtype]).removeprefix("torch."), layout == "nhwc", shape.N, shape.C,
            shape.S, shape.G,
        )
        for one in (["backward", "forward"] if direction == "both" else [direction])
    }  # fmt: skip
    tensor_bytes = tensors[1].numel() * tensors[1].element_size()
    moved = TENSORS[direction] * tensor_bytes
    ours = times["ours"]
    record: dict[str, Any] = {
        "shape": shape.name, "model": shape.model, "N": shape.N, "C": shape.C, "S": shape.S,
        "G": shape.G, "direction": direction, "dtype": dtype, "layout": layout, "threads": threads,
        "plans": plans,
        "us": {name: {k: 1e6 * v for k, v in asdict(t).items()} for name, t in times.items()},
        "gb_per_s": moved / ours.best / 1e9,
        "x_aten": times["aten"].best / ours.best,
        "x_aten_median": times["aten"].median / ours.median,
        "spread": max((t.high - t.low) / t.median for t in times.values()),
        "page_faulted": tensor_bytes > MMAP_BYTES and not options.warm,
    }  # fmt: skip
    ratios = f"{record['x_aten']:.2f} x ATen"
    if "compile" in times:
        record["x_compile"] = times["compile"].best / ours.best
        ratios += f" | {record['x_compile']:.2f} x compile"
    if options.stream and direction == "backward":
        record["stream_gb_per_s"] = moved / stream_seconds(tensors[1], options.seconds / 2) / 1e9
        ratios += f" | {record['gb_per_s'] / record['stream_gb_per_s']:.0%} of stream"
    print(
        f"{direction[:3]} {shape.name:16} {shape} {dtype} {layout} t{threads} | "
        f"{1e6 * ours.best:.0f} us ({1e6 * ours.low:.0f}..{1e6 * ours.high:.0f}) | "
        f"{record['gb_per_s']:.1f} GB/s | {ratios}" + (" | page-faulted" * record["page_faulted"]),
        flush=True,
    )
    return record


def summarise(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Geometric means by class, and the cases that are below 1.1 of ATen."""
    classes: dict[str, Any] = {}
    keys = sorted({(c["direction"], c["dtype"], c["layout"]) for c in cases})
    for key in keys:
        of = [c for c in cases if (c["direction"], c["dtype"], c["layout"]) == key]
        classes[" ".join(key)] = {
            "x_aten": geomean([c["x_aten"] for c in of]),
            "x_compile": geomean([c["x_compile"] for c in of if "x_compile" in c]),
            "least": min(c["x_aten"] for c in of),
            "cases": len(of),
        }
    for direction in sorted({c["direction"] for c in cases}):
        ratios = [c["x_aten"] for c in cases if c["direction"] == direction]
        classes[f"{direction} all"] = {
            "x_aten": geomean(ratios),
            "least": min(ratios),
            "cases": len(ratios),
        }
    low = [
        {k: c[k] for k in ("shape", "direction", "dtype", "layout", "threads", "x_aten", "spread")}
        for c in cases
        if c["x_aten"] < 1.1
    ]
    return {
        "classes": classes,
        "below_1.1": low,
        "page_faulted": sum(c["page_faulted"] for c in cases),
    }


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """The ratio to ATen by shape, one panel a class."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = sorted({(c["direction"], c["dtype"], c["layout"]) for c in cases})
    figure, axes = pyplot.subplots(
        len(keys), 1, figsize=(13, 2.4 * len(keys)), squeeze=False, sharex=True, layout="tight"
    )
    names = list(dict.fromkeys(c["shape"] for c in cases))
    for axis, key in zip(axes[:, 0], keys, strict=True):
        for threads in sorted({c["threads"] for c in cases}):
            of = [
                c for c in cases
                if (c["direction"], c["dtype"], c["layout"]) == key and c["threads"] == threads
            ]  # fmt: skip
            axis.plot(
                [names.index(c["shape"]) for c in of],
                [c["x_aten"] for c in of],
                "o",
                label=f"{threads} thread{'s' * (threads > 1)}",
            )
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_ylabel("x ATen")
        axis.set_title(" ".join(key), fontsize=9)
        axis.legend(fontsize=7)
    axes[-1, 0].set_xticks(range(len(names)), names, rotation=70, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--direction", nargs="+", choices=list(TENSORS), default=["backward"])
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--layouts", nargs="+", choices=["nchw", "nhwc"], default=["nchw", "nhwc"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--shapes", nargs="+", choices=[s.name for s in SHAPES])
    parser.add_argument("--seconds", type=float, default=0.2, help="measured a case")
    parser.add_argument(
        "--compile",
        nargs="+",
        choices=list(TENSORS),
        default=[],
        help="measure torch.compile beside",
    )
    parser.add_argument("--stream", action="store_true", help="measure a 3-tensor stream beside")
    parser.add_argument("--warm", action="store_true", help="have the allocator keep its memory")
    parser.add_argument("--device", choices=["cpu", "npu"], default="cpu")
    parser.add_argument("--untimed", action="store_true", help="npu: check the values, no times")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run the cases asked for, print a line each and the summary."""
    options = parse()
    if options.device == "npu":
        import backward_npu

        return backward_npu.main(options)
    if options.warm:
        harness.keep_allocator_warm()
    cases = [
        run_case(shape, direction, dtype, layout, threads, options)
        for threads in options.threads
        for direction in options.direction
        for dtype in options.dtypes
        for layout in options.layouts
        for shape in SHAPES
        if (options.shapes is None or shape.name in options.shapes)
        and (layout == "nchw" or shape.has_channels_last)
    ]
    summary = summarise(cases)
    for name, of in summary["classes"].items():
        least = f"least {of['least']:.2f}, {of['cases']} cases"
        print(f"{name}: geometric mean {of['x_aten']:.2f}, {least}")
    for c in summary["below_1.1"]:
        print(f"below 1.1: {c}")
    if options.json:
        record = {"machine": harness.machine(), "warm_allocator": options.warm, "summary": summary}
        harness.save(options.json, record | {"cases": cases})
    if options.plot:
        plot(cases, options.plot)


if __name__ == "__main__":
    main()
