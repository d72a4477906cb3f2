"""The problems on which the kernel is tried under the executor, and the bound on its error. No test functions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from group_norm_grad import _executor, executor

Shape = tuple[int, int, int, int]  # N, C, S, G

DTYPES = ("float32", "float16", "bfloat16")
EVERY_DTYPE_TRIPLE = [("float32", "float32", "float32")] + [
    (dtype, stat_dtype, weight_dtype)
    for dtype in ("float16", "bfloat16")
    for stat_dtype in (dtype, "float32")
    for weight_dtype in (dtype, "float32")
]
ALL_MASKS = [(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)]
A2 = "Ascend910B1"


@dataclass(frozen=True)
class Case:
    """One problem on one platform. ``why`` says what it is there for."""

    why: str
    shape: Shape
    dtype: str = "float32"
    stat_dtype: str = ""  # empty: as dtype
    weight_dtype: str = ""
    has_weight: bool = True
    mask: tuple[bool, bool, bool] = (True, True, True)
    offset: float = 0.0  # |mean| / std of the input
    soc: str = A2
    cores: int | None = None

    @property
    def id(self) -> str:
        """A name that tells the case apart in a test report."""
        N, C, S, G = self.shape
        parts = [self.why.replace(" ", "_"), f"N{N}_C{C}_S{S}_G{G}", self.dtype]
        parts += [name for name in (self.stat_dtype, self.weight_dtype) if name]
        parts += [] if self.has_weight else ["no_weight"]
        parts += [] if all(self.mask) else ["".join(str(int(wanted)) for wanted in self.mask)]
        parts += [f"offset{self.offset:g}"] if self.offset else []
        parts += [] if self.soc == A2 else [self.soc]
        parts += [f"{self.cores}cores"] if self.cores else []
        return "-".join(parts)

    def data(self, seed: int = 7) -> executor.Data:
        """Random inputs for the case."""
        return executor.random_data(
            self.shape,
            self.dtype,
            stat_dtype=self.stat_dtype or None,
            weight_dtype=self.weight_dtype or None,
            has_weight=self.has_weight,
            offset=self.offset,
            seed=seed,
        )


def schedule(shape: Shape, dtype: str, soc: str = A2) -> str:
    """The name of the schedule that the plan chooses."""
    plan = _executor.plan(*shape, dtype, dtype, dtype, soc=soc)
    return str(plan["schedule"])


def last_true(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last value for which ``holds``, by halving; it must hold for low and not for high."""
    assert holds(low) and not holds(high), (low, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def lane_cases() -> Iterator[Case]:
    """Rows one lane around a block, a repeat, and the strides that 8 bits hold."""
    rows = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49, 63, 64, 65, 127, 128, 129, 255, 257]
    for dtype in ("float32", "bfloat16"):
        for S in [*rows, 1023, 1024, 1025, 2039, 2040, 2041]:
            yield Case("row", (2, 12, S, 4), dtype)
        for D in (1, 2, 5, 7, 8, 9, 16, 17, 61, 64, 67):
            yield Case("channels of a group", (3, 2 * D, 1, 2), dtype)
            yield Case("channels of a group", (3, 2 * D, 5, 2), dtype)


def ub_cases() -> Iterator[Case]:
    """One element around the largest group that a tile holds, by rows and by channels."""
    for dtype in ("float32", "bfloat16"):
        for D in (1, 8):

            def fits(S: int, D: int = D, dtype: str = dtype) -> bool:
                return schedule((48, 3 * D, S, 3), dtype) == "group tiles"

            S = last_true(1, 200_000 // D, fits)
            for length in (S - 1, S, S + 1):
                yield Case("largest tile of rows", (48, 3 * D, length, 3), dtype, cores=3)

        def fits_lanes(D: int, dtype: str = dtype) -> bool:
            return schedule((6, 48 * D, 1, 48), dtype) == "group tiles"

        D = last_true(1, 60_000, fits_lanes)
        for length in (D - 1, D, D + 1):
            yield Case("largest tile of lanes", (2, 2 * length, 1, 2), dtype)


def size_cases() -> Iterator[Case]:
    """Sizes that other kernels refuse or get wrong, and those of real models in small."""
    for dtype in DTYPES:
        for S in (1, 2):
            yield Case("C 20480 with N 3", (3, 20480, S, 32), dtype)
        yield Case("C 300000", (3, 300_000, 1, 1), dtype)
        yield Case("C 300000", (3, 300_000, 1, 60), dtype)
        yield Case("C/G 9001", (3, 9001, 1, 1), dtype)
        yield Case("C/G 9001", (2, 18002, 3, 2), dtype)
        yield Case("C/G 9001", (1, 9001, 17, 1), dtype)
        yield Case("one element", (1, 1, 1, 1), dtype)
        yield Case("N 129", (129, 24, 7, 3), dtype)
        yield Case("N 129", (129, 64, 1, 4), dtype)
        yield Case("primes", (5, 7 * 13, 31, 13), dtype)
        yield Case("primes", (3, 11, 1009, 11), dtype)
        yield Case("primes", (1, 3 * 101, 47, 3), dtype)
    for dtype in ("float32", "bfloat16"):
        yield Case("one long row", (1, 1, 200_003, 1), dtype)
        yield Case("long rows", (1, 6, 40_001, 2), dtype)
        yield Case("group streamed", (6, 32, 3136, 4), dtype, cores=3)
        yield Case("whole and dealt groups", (8, 32, 3136, 4), dtype, cores=3)
        yield Case("dealt parts of rows", (5, 6, 30_000, 2), dtype, cores=3)
        yield Case("dealt lanes", (7, 18_002, 1, 2), dtype, cores=3)
        yield Case("dealt groups of many rows", (4, 3000, 64, 2), dtype, cores=3)
        yield Case("a group dealt to few cores", (41, 4, 5000, 1), dtype, cores=40)
        yield Case("group streamed", (6, 16, 5000, 2), dtype, cores=3)
        yield Case("group streamed", (130, 2, 20_480, 2), dtype, cores=40)
        yield Case("group split", (2, 40, 4096, 4), dtype)
        yield Case("group split", (1, 320, 1024, 32), dtype)
        yield Case("trees of some rows of a visit", (2, 88, 2048, 2), dtype)
        yield Case("trees of parts of rows of unequal length", (1, 12, 9999, 2), dtype, cores=3)
        yield Case("trees up to the end of the scratch", (4, 22, 1000, 2), dtype, cores=3)
        yield Case("weight of a visit inside a block", (8, 15, 4096, 3), dtype, cores=3)
        yield Case("rounds", (1, 60, 60_000, 6), dtype, soc="Ascend910B4")
        yield Case("groups of many short rows", (2, 4096, 9, 2), dtype)
        yield Case("shares that end in another group", (3, 10_006, 2, 2), dtype)
        yield Case("shares that end in another group", (7, 3001, 64, 1), dtype)
        yield Case("groups of one channel", (3, 257, 64, 257), dtype)
        yield Case("many groups a tile", (16, 256, 49, 32), dtype)
        yield Case("many groups a core", (64, 512, 1, 256), dtype)


def round_cases() -> Iterator[Case]:
    """Rounds with a few of a group's pieces a core, with several groups a core, and cores without pieces in some."""
    for shape, soc, cores in (
        ((1, 40, 32_026, 10), A2, None),
        ((8, 12, 16_000, 4), A2, 5),
        ((1, 60, 20_000, 6), A2, 7),
        ((4, 16, 30_000, 2), "Ascend950", 3),
        ((1, 24, 20_000, 12), "Ascend910B4", 3),
    ):
        yield Case("rounds", shape, soc=soc, cores=cores)


def variant_cases() -> Iterator[Case]:
    """Every schedule with every mask, dtype triple, absent weight, offset, platform and core count."""
    bases = [
        Case("lanes", (9, 96, 1, 6)),
        Case("tiles", (6, 48, 49, 6)),
        Case("tiles with owners", (8, 24, 1400, 4), cores=7),
        Case("streamed", (6, 16, 3136, 2), cores=3),
        Case("whole and dealt", (7, 22, 5000, 2), cores=3),
        Case("trees in threes", (2, 16, 1284, 1), cores=2),
        Case("split", (2, 24, 3000, 2)),
        Case("rounds", (1, 12, 21_462, 4), cores=2),
        Case("parts of rows", (1, 6, 30_000, 2)),
        Case("split lanes", (2, 9001, 1, 1)),
    ]
    for base in bases:
        for mask in ALL_MASKS:
            yield replace(base, mask=mask)
            yield replace(base, mask=mask, dtype="bfloat16", has_weight=False)
            yield replace(base, mask=mask, dtype="float16", soc="Ascend950")
        for dtype, stat_dtype, weight_dtype in EVERY_DTYPE_TRIPLE:
            yield replace(base, dtype=dtype, stat_dtype=stat_dtype, weight_dtype=weight_dtype)
        yield replace(base, has_weight=False)
        for offset in (1e3, 1e4):
            for dtype in DTYPES:
                yield replace(base, offset=offset, dtype=dtype, stat_dtype="float32")
        for dtype in ("float32", "float16"):
            for soc, cores in (
                ("Ascend910B3", None),
                ("Ascend950", None),
                (A2, 3),
                ("Ascend950", 3),
            ):
                yield replace(base, dtype=dtype, soc=soc, cores=cores)


def empty_cases() -> Iterator[Case]:
    """Nothing to read: no gradient of the input, and zeros for weight and bias if there are channels."""
    for shape in ((0, 6, 5, 3), (4, 6, 0, 3), (2, 0, 5, 1), (0, 300_000, 1, 1)):
        for mask in ALL_MASKS:
            yield Case("empty", shape, mask=mask)
        yield Case("empty", shape, "bfloat16", stat_dtype="float32")


def cases() -> list[Case]:
    """The whole table, each case once."""
    table: dict[str, Case] = {}
    for source in (lane_cases, ub_cases, size_cases, round_cases, variant_cases, empty_cases):
        for case in source():
            table.setdefault(case.id, case)
    return list(table.values())


def half_ulp(values: np.ndarray, dtype: str) -> np.ndarray:
    """Half a unit in the last place of a 16-bit dtype at ``values``; zero for float32."""
    if dtype == "float32":
        return np.zeros_like(values)
    digits, smallest = (11, -24) if dtype == "float16" else (8, -133)
    exponent = np.frexp(np.abs(values))[1]
    return np.exp2(np.maximum(exponent - digits, smallest).astype(np.float64) - 1)


def worst_error(
    storage: np.ndarray, dtype: str, want: np.ndarray, size: np.ndarray
) -> tuple[float, str]:
    """The largest error in units of its bound, and where it is.

    The bound is 1e-6 (float32), or half an ulp and 1e-3 (16 bits), of the largest of the value, the output's rms and
    the size of the summed terms.
    """
    if want.size == 0:
        return 0.0, "no elements"
    got = executor.from_storage(storage, dtype)
    magnitude = np.maximum(np.maximum(np.abs(want), np.sqrt(np.mean(want * want))), size)
    relative = 1e-6 if dtype == "float32" else 1e-3
    bound = half_ulp(want, dtype) * (1 + 1e-6) + relative * magnitude + np.finfo(np.float64).tiny
    ratio = np.nan_to_num(np.abs(got - want) / bound, nan=np.inf)
    at = int(np.argmax(ratio))
    return float(ratio[at]), f"[{at}] got {got[at]}, want {want[at]}, bound {bound[at]}"
