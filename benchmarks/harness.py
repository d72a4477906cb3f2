"""Interleaved timing, the correctness gate and the report lines that the benchmarks share. No shape and no operator here."""

import ctypes
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice, permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)


@dataclass
class Times:
    """Seconds of one call, over the repetitions."""

    best: float
    low: float  # 20th percentile
    median: float
    high: float  # 80th percentile

    @classmethod
    def of(cls, samples: list[float]) -> "Times":
        """The percentiles of the samples."""
        ordered = sorted(samples)
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0, 0.2, 0.5, 0.8)]
        return cls(*at)


def measure(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, Times]:
    """Time the calls in turn, so that each meets the same machine; every result is freed before the next call.

    Rounds take every order: what a call finds in the caches is what the one before it left there.
    """
    one = 0.0
    for call in calls.values():
        call()
        start = time.perf_counter()
        call()
        one += time.perf_counter() - start
    inner = max(1, int(1e-3 / one))
    rounds = min(400, max(12, int(seconds / (one * inner))))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for order in islice(cycle(permutations(calls.items())), rounds):
        for name, call in order:
            start = time.perf_counter()
            for _ in range(inner):
                call()
            samples[name].append((time.perf_counter() - start) / inner)
    return {name: Times.of(times) for name, times in samples.items()}


def keep_allocator_warm() -> None:
    """Have glibc keep freed memory, so that large outputs are not paged in afresh at every call."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, ctypes.c_int(2**31 - 1))


def rms_ratio(got: Tensor, want: Tensor) -> float:
    """The rms error of got, relative to the rms of want."""
    size = want.square().mean().sqrt().item()
    return (got.double() - want).square().mean().sqrt().item() / max(size, 1e-300)


def gate(name: str, got: Tensor, want: Tensor) -> None:
    """Refuse to time a wrong result: the rms error must be that of rounding, and of sums in float32 that cancel."""
    limit = torch.finfo(got.dtype).eps + 16 * torch.finfo(torch.float32).eps
    error = rms_ratio(got, want)
    if not error <= limit:
        raise SystemExit(f"{name}: relative rms error {error:.3g} is over {limit:.3g}; not timed")


def geomean(ratios: list[float]) -> float:
    """The geometric mean, nan of nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "architecture": platform.machine(),
        "torch": torch.__version__,
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def rounded(value: Any) -> Any:
    """The value with every float in it to four significant digits, which is more than a timing has."""
    if isinstance(value, dict):
        return {key: rounded(of) for key, of in value.items()}
    if isinstance(value, list):
        return [rounded(of) for of in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def save(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, a line for each of its cases."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cases = rounded(record.get("cases", []))
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    rest = json.dumps(rounded({key: of for key, of in record.items() if key != "cases"}), indent=1)
    path.write_text(f'{rest[:-2]},\n "cases": [\n  {lines}\n ]\n}}\n' if cases else rest + "\n")
