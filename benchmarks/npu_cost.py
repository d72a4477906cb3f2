"""What the Ascend C kernel would cost: counted and modelled by the executor on this host. Nothing here ran on an NPU.

Counts (bytes, DMAs, repeats, flags) are exact for the kernel and its plan. Times come from the executor's time model and
are labelled modelled; kernels/executor/cost/constants.h has its numbers and their sources. Beside the time over the
bandwidth floor stands the least that the model allows these instructions: start and SyncAlls, and between them HBM, L2
or the mean core's busiest pipe, with nothing waited for and all cores equally busy; and the vector unit's part alone.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import harness
import numpy as np
from shapes import SHAPES, Shape

from group_norm_grad import _executor, executor

PLATFORMS = ["Ascend910B1", "Ascend910B4", "Ascend950"]
SYNCHRONISATION = (
    "set_flags", "wait_flags", "other_barriers", "sync_alls", "cross_core_sets", "cross_core_waits",
)  # fmt: skip
FLAGS_OF_SHIPPED = {  # CANN's own kernel, fp32: flags and barriers, V-V barriers left out
    "accept_2_1280_64": 54_000,
    "accept_64_512_49": 883_000,
    "accept_128_512_1": 189_000,
    "accept_4_1280_144": 108_000,
}
ACCEPTANCE = [
    Shape(f"accept_{N}_{C}_{S}", "acceptance table", N, C, (S,), G)
    for N, C, S, G in [
        (2, 320, 4096, 32), (2, 640, 1024, 32), (2, 1280, 64, 32), (32, 64, 3136, 8),
        (8, 256, 784, 32), (64, 512, 49, 32), (128, 512, 1, 32), (4, 1280, 144, 32),
        (1, 256, 15200, 32), (1, 128, 262144, 32),
    ]
]  # fmt: skip


def run_case(shape: Shape, dtype: str, soc: str, trace: str = "") -> dict[str, Any]:
    """One run of the kernel, counted and modelled. Neither depends on the data, which is zeros."""
    name = executor.DTYPES[dtype]
    storage = np.float32 if dtype == "fp32" else np.uint16
    elems, groups = shape.N * shape.C * shape.S, shape.N * shape.G
    data = executor.Data(
        (shape.N, shape.C, shape.S, shape.G),
        name,
        name,
        name,
        *(np.zeros(count, storage) for count in (elems, elems, groups, groups, shape.C)),
    )
    result = executor.run(data, soc=soc, seed=0, checks=False, cost=True, trace=trace)
    report, plan = result["report"], result["plan"]
    if not report["completed"]:
        raise SystemExit(f"{shape.name} {dtype} on {soc}: the kernel did not finish")
    total, cost = report["total"], report["cost"]
    platform = _executor.platform(soc)
    bytes_once = 3 * elems * (4 if dtype == "fp32" else 2)
    moved = total["gm_read_bytes"] + total["gm_write_bytes"]
    busiest = max(core["gm_read_bytes"] + core["gm_write_bytes"] for core in report["cores"])
    counted = {
        "schedule": plan["schedule"],
        "blocks": plan["blocks"],
        "gm_bytes": moved,
        "gm_ratio": moved / bytes_once,
        "balance": busiest * platform["vector_cores"] / moved,
        "repeats": 64 * total["vector_repeats"] / elems,
        "flags": sum(total[k] for k in SYNCHRONISATION),
        "v_barriers": total["v_barriers"],
        "instructions": sum(total["instructions"].values()),
        "mean_dma_bytes": moved / (total["loads"] + total["stores"]),
        "dma_sizes": total["dma_sizes"],
    }
    return {
        "shape": shape.name, "model": shape.model, "N": shape.N, "C": shape.C, "S": shape.S,
        "G": shape.G, "dtype": dtype, "soc": soc, "bytes_once": bytes_once, "counted": counted,
        "modelled": {key: value for key, value in cost.items() if key != "modelled"} | {
            "of_floor": cost["cores_us"] / cost["floor_us"],
            "least_of_floor": cost["least_us"] / cost["floor_us"],
            "vector_of_floor": cost["pipe_share"]["V"] * cost["cores_us"] / cost["floor_us"],
            "total_of_floor": cost["nominal_us"] / cost["floor_us"],
            "total_of_peak_floor": cost["nominal_us"] / cost["peak_floor_us"],
            "of_launch_and_floor": cost["nominal_us"] / (cost["launch_us"] + cost["floor_us"]),
        },
    }  # fmt: skip


def bounds(case: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """The acceptance criteria that apply to a case: name to (figure, largest allowed)."""
    counted, modelled = case["counted"], case["modelled"]
    platform = _executor.platform(case["soc"])
    wide = case["dtype"] == "fp32"
    group_bytes = case["C"] // case["G"] * case["S"] * (8 if wide else 4)
    read_once = (
        group_bytes <= 0.75 * platform["ub_bytes"]
        and case["N"] * case["G"] >= 2.5 * platform["vector_cores"]
    )
    found: dict[str, tuple[float, float]] = {}
    if platform["vector_cores"] == 48:  # the bounds on counts are stated for 48 cores
        by_dtype = (8 if wide else 12) if case["S"] >= 64 else (12 if wide else 16)
        found["GM bytes"] = counted["gm_ratio"], 1.03 if read_once else 1.70
        found["repeats"] = counted["repeats"], by_dtype
        if counted["gm_bytes"] >= 4e6:
            found["balance"] = counted["balance"], 1.15
        if case["shape"] in FLAGS_OF_SHIPPED:
            found["flags"] = counted["flags"], FLAGS_OF_SHIPPED[case["shape"]] / 10
        if case["S"] >= 784:  # as a lower bound, hence the sign
            found["-mean DMA KiB"] = -counted["mean_dma_bytes"] / 1024, -16
    if case["bytes_once"] >= 16e6:
        found["time / floor"] = (modelled["of_floor"], 1.25)
    else:
        found["time / (launch + floor)"] = (modelled["of_launch_and_floor"], 2)
    return found


def misses(case: dict[str, Any]) -> list[str]:
    """The criteria that a case misses, with figure and bound."""
    return [
        f"{name} {figure:.2f} > {bound:g}"
        for name, (figure, bound) in bounds(case).items()
        if figure > bound
    ]


def line(case: dict[str, Any]) -> str:
    """One case as text."""
    counted, modelled = case["counted"], case["modelled"]
    shares = " ".join(f"{pipe} {share:.0%}" for pipe, share in modelled["pipe_share"].items())
    size = f"({case['N']},{case['C']},{case['S']},{case['G']})"
    return (
        f"{case['shape']:18} {size:20} {case['dtype']} {case['soc']:11} {counted['schedule']:14} | "
        f"counted: bytes {counted['gm_ratio']:.3f}, balance {counted['balance']:.2f}, repeats "
        f"{counted['repeats']:.1f}, flags {counted['flags']}, DMA {counted['mean_dma_bytes'] / 1024:.1f} KiB | "
        f"modelled: {modelled['nominal_us']:.1f} us ({modelled['fast_us']:.1f}..{modelled['slow_us']:.1f}), "
        f"on the cores {modelled['cores_us']:.1f}, floor {modelled['floor_us']:.1f}, "
        f"x floor {modelled['of_floor']:.2f} (vector unit {modelled['vector_of_floor']:.2f}, least "
        f"{modelled['least_of_floor']:.2f}); {shares}; {modelled['bottleneck']}"
    )


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """Modelled time on the cores over the bandwidth floor by shape, a panel a platform."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    socs = list(dict.fromkeys(case["soc"] for case in cases))
    names = list(dict.fromkeys(case["shape"] for case in cases))
    figure, axes = pyplot.subplots(
        len(socs), 1, figsize=(13, 3 * len(socs)), squeeze=False, sharex=True, layout="tight"
    )
    for axis, soc in zip(axes[:, 0], socs, strict=True):
        for dtype in dict.fromkeys(case["dtype"] for case in cases):
            of = [case for case in cases if case["soc"] == soc and case["dtype"] == dtype]
            axis.plot(
                [names.index(case["shape"]) for case in of],
                [case["modelled"]["of_floor"] for case in of],
                "o",
                label=dtype,
            )
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_ylabel("modelled time / floor")
        axis.set_title(f"{soc}, modelled, launch left out", fontsize=9)
        axis.legend(fontsize=7)
    axes[-1, 0].set_xticks(range(len(names)), names, rotation=70, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    known = [shape.name for shape in ACCEPTANCE + SHAPES]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--acceptance", action="store_true", help="the ten acceptance shapes only")
    parser.add_argument("--shapes", nargs="+", choices=known, metavar="NAME")
    parser.add_argument(
        "--dtypes", nargs="+", choices=executor.DTYPES, default=list(executor.DTYPES)
    )
    parser.add_argument("--platforms", nargs="+", default=PLATFORMS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    unknown = [soc for soc in options.platforms if soc not in _executor.platforms()]
    if unknown:
        parser.error(f"expected platforms of {_executor.platforms()}, got {unknown}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for and print a line each, then the acceptance criteria that are missed; 1 if there are any."""
    options = parse(arguments)
    shapes = ACCEPTANCE if options.acceptance else ACCEPTANCE + SHAPES
    cases, missed = [], []
    for soc, dtype, shape in itertools.product(options.platforms, options.dtypes, shapes):
        if options.shapes is not None and shape.name not in options.shapes:
            continue
        case = run_case(shape, dtype, soc)
        cases.append(case)
        print(line(case), flush=True)
        if shape in ACCEPTANCE and _executor.platform(soc)["arch"] == 2201:
            missed += [f"missed: {shape.name} {dtype} {soc}: {text}" for text in misses(case)]
    print("\n".join(missed) if missed else "no acceptance criterion is missed")
    if options.json:
        harness.save(
            options.json,
            {"times": "modelled", "counts": "counted under the executor", "missed": missed}
            | {"cases": cases},
        )
    if options.plot:
        plot(cases, options.plot)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
