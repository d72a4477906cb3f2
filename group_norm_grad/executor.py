"""Run the Ascend C kernel on this host: ``python -m group_norm_grad.executor N C S G --dtype bf16``.

The kernel source is the one that an NPU runs, and so is its plan; here an executor plays the cores, checks every
access and counts what they do. Nothing in this module says how fast a device is, except where it is labelled modelled.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from group_norm_grad import _executor

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
FULL_MASK = (True, True, True)
OUTPUTS = ("grad_input", "grad_weight", "grad_bias")


def to_storage(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round float values to a dtype's storage: float32, or the bits of a 16-bit dtype as uint16."""
    wide = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    if dtype == "float32":
        return wide
    if dtype == "float16":
        return wide.astype(np.float16).view(np.uint16)
    bits = wide.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype(np.uint16)


def from_storage(storage: np.ndarray, dtype: str) -> np.ndarray:
    """The values that a dtype's storage holds, as float64."""
    if dtype == "float32":
        return storage.astype(np.float64)
    if dtype == "float16":
        return storage.view(np.float16).astype(np.float64)
    return (storage.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)


@dataclass
class Data:
    """One problem with its inputs in storage form, flat: (N*C*S), (N*C*S), (N*G), (N*G) and (C) or None."""

    shape: tuple[int, int, int, int]  # N, C, S, G
    dtype: str
    stat_dtype: str
    weight_dtype: str
    grad_out: np.ndarray
    input: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray
    weight: np.ndarray | None


def random_data(
    shape: tuple[int, int, int, int],
    dtype: str = "float32",
    *,
    stat_dtype: str | None = None,
    weight_dtype: str | None = None,
    has_weight: bool = True,
    offset: float = 0.0,
    seed: int = 0,
) -> Data:
    """Random inputs for (N, C, S, G), with the statistics that group normalisation would save.

    ``offset`` is added to the input, in units of its standard deviation. The statistics are of the rounded input.
    """
    N, C, S, G = shape
    stat_dtype = stat_dtype or dtype
    weight_dtype = weight_dtype or dtype
    generator = np.random.default_rng(seed)
    grad_out = to_storage(generator.standard_normal(N * C * S), dtype)
    data = to_storage(generator.standard_normal(N * C * S) + offset, dtype)
    weight = to_storage(generator.standard_normal(C) * 0.5 + 1.5, weight_dtype)
    grouped = from_storage(data, dtype).reshape(N * G, C // G * S)
    if grouped.size == 0:
        mean, rstd = np.zeros(N * G), np.ones(N * G)
    else:
        mean = grouped.mean(axis=1)
        rstd = 1.0 / np.sqrt(grouped.var(axis=1) + 1e-5)
    return Data(
        shape,
        dtype,
        stat_dtype,
        weight_dtype,
        grad_out,
        data,
        to_storage(mean, stat_dtype),
        to_storage(rstd, stat_dtype),
        weight if has_weight else None,
    )


def reference(data: Data) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each output in float64 with the size of the terms that were summed for it, both flat.

    dx = rstd * (gamma * dy - mean(gamma * dy) - xhat * mean(gamma * dy * xhat)), the means over a group; the given mean
    and rstd are taken as exact.
    """
    N, C, S, G = data.shape
    D = C // G
    dy = from_storage(data.grad_out, data.dtype).reshape(N, G, D, S)
    x = from_storage(data.input, data.dtype).reshape(N, G, D, S)
    mean = from_storage(data.mean, data.stat_dtype).reshape(N, G, 1, 1)
    rstd = from_storage(data.rstd, data.stat_dtype).reshape(N, G, 1, 1)
    weight = np.ones(C) if data.weight is None else from_storage(data.weight, data.weight_dtype)
    gamma = weight.reshape(1, G, D, 1)
    xhat = (x - mean) * rstd
    elems = max(D * S, 1)
    scaled = gamma * dy
    mean_scaled = scaled.sum(axis=(2, 3), keepdims=True) / elems
    mean_product = (scaled * xhat).sum(axis=(2, 3), keepdims=True) / elems
    grad_input = rstd * (scaled - mean_scaled - xhat * mean_product)
    size_scaled = np.abs(scaled).sum(axis=(2, 3), keepdims=True) / elems
    size_product = np.abs(scaled * xhat).sum(axis=(2, 3), keepdims=True) / elems
    size_input = rstd * (np.abs(scaled) + size_scaled + np.abs(xhat) * size_product)

    def per_channel(terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = np.sqrt((terms * terms).sum(axis=(0, 3)))
        return terms.sum(axis=(0, 3)).reshape(-1), size.reshape(-1)

    return {
        "grad_input": (grad_input.reshape(-1), size_input.reshape(-1)),
        "grad_weight": per_channel(dy * xhat),
        "grad_bias": per_channel(dy),
    }


@dataclass
class Error:
    """The error of one output where it is largest against its bound."""

    output: str
    relative: (
        float  # to the largest of the value, the rms of the output and the size of the summed terms
    )
    of_bound: float  # the error over its bound; above 1 is wrong
    index: int
    got: float
    want: float

    @property
    def ok(self) -> bool:
        return self.of_bound <= 1.0


def half_ulp(values: np.ndarray, dtype: str) -> np.ndarray:
    """Half the distance between neighbours of a 16-bit dtype around each value; 0 in float32."""
    if dtype == "float32":
        return np.zeros_like(values)
    lowest, bits = (-14, 11) if dtype == "float16" else (-126, 8)
    exponent = np.frexp(np.abs(values))[1] - 1
    return np.ldexp(1.0, np.maximum(np.where(values == 0.0, lowest, exponent), lowest) - bits)


def measure(
    output: str, storage: np.ndarray, dtype: str, want: np.ndarray, size: np.ndarray
) -> Error:
    """Compare one output with float64.

    The bound is 1e-6 of the magnitude, and in a 16-bit dtype the rounding of the result on top: half an ulp and 1e-3 of
    that. The magnitude is the largest of the value, the rms of the output and the size of the summed terms.
    """
    got = from_storage(storage, dtype)
    if want.size == 0:
        return Error(output, 0.0, 0.0, 0, 0.0, 0.0)
    rms = np.sqrt(np.mean(want * want))
    magnitude = np.maximum(np.maximum(np.abs(want), rms), size)
    magnitude = np.where(magnitude == 0.0, 1.0, magnitude)
    bound = 1e-6 * magnitude + 1.001 * half_ulp(want, dtype)
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want)
    error = np.where(np.isnan(error), np.inf, error)
    index = int(np.argmax(error / bound))
    return Error(
        output,
        float(error[index] / magnitude[index]),
        float(error[index] / bound[index]),
        index,
        float(got[index]),
        float(want[index]),
    )


def run(data: Data, output_mask: Sequence[bool] = FULL_MASK, **options: Any) -> dict[str, Any]:
    """Run the kernel on ``data``: the outputs in storage form or None, ``plan`` and ``report``.

    ``options`` are soc, vector_cores, ub_bytes, seed (0: program order), checks, auto_sync, saturate,
    threads, and cost and trace for the time model. Raises ValueError for a problem or a platform that does not exist.
    """
    N, C, S, G = data.shape
    return _executor.run(
        N,
        C,
        S,
        G,
        data.dtype,
        data.stat_dtype,
        data.weight_dtype,
        data.grad_out,
        data.input,
        data.mean,
        data.rstd,
        data.weight,
        list(output_mask),
        **options,
    )


def errors(data: Data, result: dict[str, Any]) -> list[Error]:
    """The error of every output that ``result`` holds."""
    expected = reference(data)
    found = []
    for output in OUTPUTS:
        if result[output] is None:
            continue
        dtype = data.dtype if output == "grad_input" else data.weight_dtype
        found.append(measure(output, result[output], dtype, *expected[output]))
    return found


def count_lines(report: dict[str, Any], data: Data) -> list[str]:
    """The counts of a report as text, one quantity a line."""
    N, C, S, _ = data.shape
    total = report["total"]
    once = 3 * N * C * S * (4 if data.dtype == "float32" else 2)
    moved = total["gm_read_bytes"] + total["gm_write_bytes"]
    per_core = [core["gm_read_bytes"] + core["gm_write_bytes"] for core in report["cores"]]
    lines = [f"GM bytes: {total['gm_read_bytes']} in, {total['gm_write_bytes']} out"]
    if once and per_core and moved:
        balance = max(per_core) * len(per_core) / moved
        lines[0] += f", {moved / once:.3f} x (dy + x + dx), largest core {balance:.2f} x mean"
    transfers = total["loads"] + total["stores"]
    sizes = ", ".join(f"{size}: {count}" for size, count in total["dma_sizes"].items())
    mean_size = moved / transfers if transfers else 0
    lines.append(f"DMAs: {total['loads']} in, {total['stores']} out, mean {mean_size:.0f} B")
    lines.append(f"DMA sizes (bytes, from: count): {sizes}")
    repeats = ", ".join(f"{name}: {count}" for name, count in total["repeats"].items())
    elems = max(N * C * S, 1)
    lines.append(
        f"vector repeats: {total['vector_repeats']}, x 64 / elements "
        f"{total['vector_repeats'] * 64 / elems:.2f} ({repeats})"
    )
    lines.append(
        f"flags: {total['set_flags']} set, {total['wait_flags']} waited for; barriers: "
        f"{total['v_barriers']} V, {total['other_barriers']} other; SyncAll: {total['sync_alls']}; "
        f"flags between cores: {total['cross_core_sets']} set, "
        f"{total['cross_core_waits']} waited for"
    )
    lines.append(
        f"scalar accesses: {total['ub_scalar_accesses']} UB, {total['gm_scalar_accesses']} GM; "
        f"register sets: {total['register_sets']}"
    )
    return lines


def cost_lines(cost: dict[str, Any]) -> list[str]:
    """The time model's report as text; every time in it is modelled."""
    shares = ", ".join(f"{pipe} {share:.0%}" for pipe, share in cost["pipe_share"].items())
    return [
        f"modelled time: {cost['nominal_us']:.1f} us ({cost['fast_us']:.1f} to "
        f"{cost['slow_us']:.1f}), of which launch {cost['launch_us']:.1f}",
        f"modelled floor: {cost['floor_us']:.1f} us for the HBM traffic at the rate that large "
        f"transfers reach, {cost['peak_floor_us']:.1f} at the platform's",
        f"modelled HBM traffic: {cost['hbm_read_bytes'] / 1e6:.2f} MB in, "
        f"{cost['hbm_write_bytes'] / 1e6:.2f} MB out; L2 traffic {cost['l2_bytes'] / 1e6:.2f} MB",
        f"modelled pipe shares: {shares}; cycles lost to bank conflicts "
        f"{cost['conflict_repeats']:.0f}; bottleneck: {cost['bottleneck']}",
    ]


def parse_mask(text: str) -> tuple[bool, bool, bool]:
    """Three digits 0 or 1, for grad_input, grad_weight and grad_bias."""
    if len(text) != 3 or set(text) - {"0", "1"}:
        raise argparse.ArgumentTypeError(f"expected three digits 0 or 1, got {text}")
    return text[0] == "1", text[1] == "1", text[2] == "1"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m group_norm_grad.executor", description=(__doc__ or "").partition("\n\n")[2]
    )
    for name, text in (
        ("N", "batch"),
        ("C", "channels"),
        ("S", "product of the trailing dimensions"),
        ("G", "groups"),
    ):
        parser.add_argument(name, type=int, help=text)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--stat-dtype", choices=DTYPES, help="of mean and rstd; default as --dtype")
    parser.add_argument("--weight-dtype", choices=DTYPES, help="default as --dtype")
    parser.add_argument("--soc", default="Ascend910B1", help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the data and of the schedule")
    parser.add_argument("--no-weight", action="store_true")
    parser.add_argument("--mask", type=parse_mask, default=FULL_MASK, help="which outputs, as 101")
    parser.add_argument("--offset", type=float, default=0.0, help="|mean| / std of the input")
    parser.add_argument("--cores", type=int, help="vector cores, instead of the platform's")
    parser.add_argument("--no-checks", action="store_true", help="count only")
    parser.add_argument("--cost", action="store_true", help="also print the modelled time")
    parser.add_argument(
        "--trace", default="", help="write the modelled timeline here (Chrome JSON)"
    )
    parser.add_argument("--json", action="store_true", help="print plan, report and errors as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one random problem and print what came of it; 1 on any finding or error above its bound, 2 on bad arguments."""
    options = parse(arguments)
    shape = (options.N, options.C, options.S, options.G)
    if options.G < 1 or min(shape) < 0 or options.C % options.G:
        print(f"error: expected N, C, S >= 0 and C divisible by G, got {shape}", file=sys.stderr)
        return 2
    dtype = DTYPES[options.dtype]
    data = random_data(
        shape,
        dtype,
        stat_dtype=DTYPES.get(options.stat_dtype),
        weight_dtype=DTYPES.get(options.weight_dtype),
        has_weight=not options.no_weight,
        offset=options.offset,
        seed=options.seed,
    )
    try:
        result = run(
            data,
            options.mask,
            soc=options.soc,
            seed=options.seed,
            vector_cores=options.cores,
            checks=not options.no_checks,
            cost=options.cost,
            trace=options.trace,
        )
    except (ValueError, RuntimeError) as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    report, plan = result["report"], result["plan"]
    found = errors(data, result)
    ok = report["clean"] and all(error.ok for error in found)
    if options.json:
        summary = {"plan": plan, "report": report, "errors": [vars(error) for error in found]}
        print(json.dumps(summary))
        return 0 if ok else 1
    print(
        f"N={options.N} C={options.C} S={options.S} G={options.G} {dtype} under the executor as "
        f"{options.soc}: {plan['schedule']} on {plan['blocks']} cores, "
        f"workspace {plan['workspace_bytes']} B, {report['seconds']:.2f} s on this host"
    )
    for error in found:
        verdict = "ok" if error.ok else f"FAILED at {error.index}: {error.got} for {error.want}"
        print(
            f"{error.output}: error {error.relative:.2e}, {error.of_bound:.2f} of its bound, {verdict}"
        )
    for finding in report["findings"]:
        print(f"{finding['check']}: {finding['text']} (x{finding['times']})")
    checked = "not run" if options.no_checks else f"{len(report['findings'])} findings"
    print(f"checks: {checked}{'' if report['completed'] else ', the kernel did not finish'}")
    modelled = cost_lines(report["cost"]) if report["cost"] else []
    for line in count_lines(report, data) + modelled:
        print(line)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
