"""The plan: its promises on random problems, its refusals, and what every launch needs."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from group_norm_grad import _executor

ROOT = Path(__file__).resolve().parents[1]
RANDOM_PROBLEMS = 40_000
SEEDS = (1, 20261122)
FAMILIES_A2 = [
    "Ascend910B1",
    "Ascend910B2",
    "Ascend910B2C",
    "Ascend910B3",
    "Ascend910B4",
    "Ascend910B4-1",
    "Ascend910_9391",
    "Ascend910_9392",
    "Ascend910_9381",
    "Ascend910_9382",
    "Ascend910_9372",
    "Ascend910_9362",
]


@pytest.fixture(scope="module")
def invariants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks the promises, built with the sanitizers that catch overflow and bad reads."""
    compiler = shutil.which("g++")
    assert compiler, "the plan's test program needs g++"
    program = tmp_path_factory.mktemp("plan") / "plan_invariants"
    sources = sorted((ROOT / "kernels" / "op_host").glob("plan*.cpp"))
    sources += [ROOT / "kernels" / "op_host" / "platform.cpp"]
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    command = [compiler, *flags, "-o", program, ROOT / "tests" / "plan_invariants.cpp", *sources]
    subprocess.run(command, check=True)
    return program


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_on_random_problems(invariants: Path, seed: int) -> None:
    """Coverage, room, alignment, overflow, block count and balance; every schedule must have come up."""
    run = subprocess.run(
        [invariants, str(RANDOM_PROBLEMS), str(seed)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for schedule in (
        "group tiles",
        "tiles with owners",
        "streamed group",
        "split group",
        "whole and dealt groups",
        "groups in rounds",
        "zero fill",
        "nothing",
    ):
        assert f"{schedule}:" in run.stdout


def plan(
    shape: tuple[int, int, int, int], dtype: str = "float32", **options: Any
) -> dict[str, Any]:
    """The plan's public part for a problem whose tensors all have one dtype."""
    return dict(_executor.plan(*shape, dtype, dtype, dtype, **options))


def test_platforms() -> None:
    """Every SoC of the table has its cores; a 950 board's suffix does not matter, an unknown name does."""
    assert set(FAMILIES_A2) <= set(_executor.platforms())
    assert _executor.platform("Ascend910B1")["vector_cores"] == 48
    assert _executor.platform("Ascend910B4")["vector_cores"] == 40
    for name in ("Ascend950PR_9589", "Ascend950DT_9591", "Ascend910_9599"):
        assert _executor.platform(name)["arch"] == 3510
        assert _executor.platform(name)["vector_cores"] == 64
    for name in ("Ascend910A", "Ascend910B", "Ascend910_9300", "Ascend310P3", ""):
        with pytest.raises(ValueError, match="Expected soc to be one of Ascend910B1"):
            _executor.platform(name)


def test_float64_is_refused() -> None:
    """The kernel has no float64."""
    with pytest.raises(ValueError, match="float64"):
        plan((1, 1, 1, 1), "float64")


def test_the_same_problem_has_the_same_plan() -> None:
    """The plan is a pure function."""
    assert plan((8, 256, 784, 32)) == plan((8, 256, 784, 32))


@pytest.mark.parametrize("shape", [(8, 0, 4, 2), (0, 0, 0, 1)], ids=str)
def test_nothing_is_launched_without_channels(shape: tuple[int, int, int, int]) -> None:
    """No channel: nothing to write."""
    assert plan(shape)["blocks"] == 0


def test_no_output_wanted() -> None:
    """No output: nothing to write."""
    assert plan((2, 4, 4, 2), output_mask=[False, False, False])["blocks"] == 0


def test_a_mixed_launch_has_a_workspace() -> None:
    """Even where nothing is kept in it."""
    assert plan((1, 1, 1, 1))["workspace_bytes"] >= 32


def test_the_tiling_is_small() -> None:
    """It is copied to every core at every launch."""
    assert plan((1, 1, 1, 1))["tiling_bytes"] <= 352


@pytest.mark.parametrize(
    ("shape", "dtype", "options"),
    [
        ((1, 40, 32_026, 10), "float32", {}),
        ((1, 60, 60_000, 6), "bfloat16", {"soc": "Ascend910B4"}),
        ((8, 12, 16_000, 4), "float32", {"vector_cores": 5}),
    ],
    ids=str,
)
def test_few_large_groups_are_split_in_rounds(
    shape: tuple[int, int, int, int], dtype: str, options: dict[str, Any]
) -> None:
    """The problems by which the kernel's rounds are tried have some."""
    assert plan(shape, dtype, **options)["rounds"] > 1
    assert plan(shape, dtype, **options, output_mask=[False, True, True])["rounds"] == 1
