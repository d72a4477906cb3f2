"""The executor's time model against measurements that the vendor published, and against itself."""

import subprocess

import pytest
from executor_build import build

TOLERANCE = 0.20  # of the published time
SAMPLES = (
    "add one core",
    "add 8 KiB",
    "add 32 KiB",
    "add double buffer",
    "add L2 bypass",
    "add no bank conflict",
    "copy 64x1024",
    "copy 64x64",
    "copy 1x64",
    "copy unaligned",
    "copy whole 4 times",
    "copy slices 4 times",
    "3510 copy 64x1024",
    "3510 copy 64x64",
    "3510 copy 1x64",
    "3510 copy unaligned",
    "3510 copy whole 4 times",
    "3510 copy slices 4 times",
    "bank no conflict",
    "bank read and read",
    "bank read and write",
    "bank repeated block meets",
    "bank repeated block apart",
    "reduce twice whole",
    "reduce three blocks",
    "reduce block and whole",
)


@pytest.fixture(scope="module")
def modelled() -> dict[str, tuple[float, list[float]]]:
    program = build("samples") / "samples"
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=True)
    table = {}
    for line in done.stdout.splitlines():
        name, published, times = line.split(" | ")
        table[name] = float(published), [float(time) for time in times.split()]
    return table


def test_all_samples_ran(modelled):
    assert sorted(modelled) == sorted(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_published_measurement(modelled, name):
    published, (fast, nominal, slow) = modelled[name]
    assert fast <= nominal <= slow
    assert abs(nominal / published - 1) <= TOLERANCE, (
        f"published {published} us, modelled {nominal} us"
    )


def test_variants_keep_their_order(modelled):
    def time(name: str) -> float:
        return modelled[name][1][1]

    assert (
        time("add 8 KiB") > time("add 32 KiB") > time("add double buffer") > time("add L2 bypass")
    )
    assert time("copy 1x64") > 2 * time("copy 64x1024")
    assert time("copy unaligned") > 1.1 * time("copy 64x1024")
    assert time("copy whole 4 times") > 2 * time("copy slices 4 times")
