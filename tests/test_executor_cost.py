"""The executor's time model against measurements that the vendor published, and against itself."""

import json
import subprocess
from pathlib import Path

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


BETWEEN_CORES = (
    "sync all",
    "sync flags",
    "sync all, then loads",
    "sync flags around loads",
    "sync flags around many loads",
    "sync all, a late core",
    "sync flags, a late core",
    "sync flags, loads behind",
    "3510 sync flags",
    "3510 sync flags, loads behind",
)


@pytest.fixture(scope="module")
def program() -> Path:
    return build("samples") / "samples"


@pytest.fixture(scope="module")
def modelled(program) -> dict[str, tuple[float, list[float]]]:
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=True)
    table = {}
    for line in done.stdout.splitlines():
        name, published, times = line.split(" | ")
        table[name] = float(published), [float(time) for time in times.split()]
    return table


def test_all_samples_ran(modelled):
    assert sorted(modelled) == sorted(SAMPLES + BETWEEN_CORES)


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


def test_flags_between_cores_cost_what_sync_all_does(modelled):
    for late in ("", ", a late core"):
        for corner in range(3):
            flags, whole = (modelled[f"sync {how}{late}"][1][corner] for how in ("flags", "all"))
            assert flags == pytest.approx(whole, abs=0.02), (late, corner)
    assert modelled["sync flags, a late core"][1][1] > 10 + modelled["sync flags"][1][1]


def test_loads_go_on_between_set_and_wait(modelled):
    def time(name: str) -> float:
        return modelled[name][1][1]

    assert time("sync all, then loads") > time("sync all") + 0.5
    assert time("sync flags around loads") == pytest.approx(time("sync flags"), abs=0.02)
    assert time("sync flags around many loads") > time("sync flags") + 5


def test_the_wait_of_a_pipe_holds_back_that_pipe_only_on_3510(modelled):
    """The loads behind the wait take longer than the Add that it holds back."""

    def behind(arch: str) -> float:
        return (
            modelled[f"{arch}sync flags, loads behind"][1][1] - modelled[f"{arch}sync flags"][1][1]
        )

    assert behind("") > 0.5
    assert behind("3510 ") < 0.2


def test_trace_shows_the_flags_between_cores(program, tmp_path):
    path = tmp_path / "trace.json"
    subprocess.run([program, "sync flags around loads", path], timeout=60, check=True)
    events = json.loads(path.read_text())["traceEvents"]
    rows = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    slices = [e for e in events if e["ph"] == "X" and e["pid"] == 5]
    (made,) = [e for e in slices if e["name"] == "CrossCoreSetFlag"]
    (wait,) = [e for e in slices if e["name"] == "CrossCoreWaitFlag"]
    loads = [e for e in slices if e["name"] == "DataCopy(GM to UB)"]
    assert rows[5, made["tid"]] == "MTE2"
    assert rows[5, wait["tid"]] == "S"
    assert len(loads) == 2
    for load in loads:
        assert made["ts"] <= load["ts"]
        assert load["ts"] + load["dur"] < wait["ts"] + wait["dur"]
    assert wait["dur"] == pytest.approx(1.5, abs=0.1)
