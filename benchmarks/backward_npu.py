"""backward.py --device npu: our backward against torch_npu's own on an NPU, timed by events on the device.

Ran so far only on a device that is not one (tests/loopback_acl), with --untimed: there is no measured figure of an NPU.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import backward
import harness
import torch
from shapes import SHAPES, Shape
from torch import Tensor

from group_norm_grad import _C

WARM_UP, CALLS = 10, 50


def name_of_theirs() -> str:
    """What torch_npu's own operator runs, which is our kernel again where ASCEND_CUSTOM_OPP_PATH holds our C API."""
    paths = os.environ.get("ASCEND_CUSTOM_OPP_PATH", "").split(os.pathsep)
    ours = any(path and Path(path).resolve() == Path(_C.opp_path()).resolve() for path in paths)
    return "our C API through torch_npu" if ours else "torch_npu"


def event_us(call: Callable[[], Any]) -> list[float]:
    """Microseconds between two events around each call, on the current stream, after some calls that do not count."""
    for _ in range(WARM_UP):
        call()
    marks = [torch.npu.Event(enable_timing=True) for _ in range(CALLS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.npu.synchronize()
    return sorted(1e3 * a.elapsed_time(b) for a, b in pairwise(marks))


def run_case(shape: Shape, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """Checks one shape against float64 and, unless untimed, times it; prints a line."""
    tensors = backward.make_inputs(shape, harness.DTYPES[dtype], "nchw")
    grad_out, x, weight, bias = tensors
    mean, rstd = backward.statistics(shape, x, weight, bias)
    sizes = (shape.N, shape.C, shape.S, shape.G)
    given = [t.npu() for t in (grad_out, x, mean, rstd, weight)]

    def call(op: Any) -> tuple[Tensor, ...]:
        return op(*given, *sizes, [True, True, True])

    ours, theirs = backward.OURS.group_norm_backward, backward.ATEN.native_group_norm_backward
    wanted = backward.expected(shape, "backward", tensors)
    for i, (got, want) in enumerate(zip(call(ours), wanted, strict=True)):
        harness.gate(f"{shape.name} backward result {i}", got.cpu(), want)
    head = f"bwd {shape.name:16} {shape} {dtype} nchw npu"
    record: dict[str, Any] = {"shape": shape.name, "dtype": dtype, "timed": not options.untimed}
    if options.untimed:
        print(f"{head} | right | untimed")
        return record
    times = {"ours": event_us(lambda: call(ours)), "torch_npu": event_us(lambda: call(theirs))}
    middle = {name: samples[len(samples) // 2] for name, samples in times.items()}
    low, high = (times["ours"][int(q * CALLS)] for q in (0.2, 0.8))
    moved = 3 * x.numel() * x.element_size()
    rate = moved / middle["ours"] / 1e3
    ratio = middle["torch_npu"] / middle["ours"]
    print(
        f"{head} | {middle['ours']:.0f} us ({low:.0f}..{high:.0f}) | {rate:.1f} GB/s | {ratio:.2f} x {name_of_theirs()}"
    )
    return record | {"us": middle, "gb_per_s": rate, "ratio": ratio}


def main(options: argparse.Namespace) -> None:
    """Run the cases asked for; a line each, the geometric mean of the ratios last."""
    cases = [
        run_case(shape, dtype, options)
        for dtype in options.dtypes
        for shape in SHAPES
        if options.shapes is None or shape.name in options.shapes
    ]
    ratios = [case["ratio"] for case in cases if case["timed"]]
    theirs = name_of_theirs()
    print(f"geometric mean {harness.geomean(ratios):.2f} x {theirs}" if ratios else "untimed")
    if options.json:
        record = {"device": torch.npu.get_device_name(), "ratio_to": theirs, "cases": cases}
        harness.save(options.json, record)
