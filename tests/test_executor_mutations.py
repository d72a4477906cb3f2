"""Mutations of the real kernel, one line each, that the executor's checks must catch under the real plan."""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from executor_build import ROOT, build

KERNEL = ROOT / "kernels" / "op_kernel"
RUNNER = ROOT / "tests" / "executor_mutants"
SEEDS = (0, 1, 2, 3)  # 0 is program order

# Problems of each schedule: (dtype, N, C, S, G).
TILES = ("float32", 4, 64, 49, 8)
BIG_TILES = ("float32", 96, 96, 120, 8)
STREAMED = ("float32", 16, 32, 4096, 8)
SPLIT = ("float32", 1, 64, 4096, 2)
UNEVEN = ("float32", 2, 24, 3000, 2)  # rows of 375 blocks, five a repeat
ROWS = ("float32", 4, 4096, 64, 4)
NARROW = ("bfloat16", 4, 64, 49, 8)


@dataclass
class Mutation:
    name: str
    file: str
    old: str
    new: str
    problem: tuple[str, int, int, int, int]
    check: str
    text: str  # in a finding of that check

    def __str__(self) -> str:
        return self.name


def dropped(name: str, file: str, line: str, problem, check: str, text: str) -> Mutation:
    return Mutation(name, file, line, "", problem, check, text)


MUTATIONS = (
    # race
    dropped(
        "load not waited for before compute",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        TILES,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "compute not waited for before the store",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(computed_[slot]);",
        STREAMED,
        "race",
        "no V_MTE3 flag",
    ),
    dropped(
        "store not waited for before the slot's next load",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE3_MTE2>(stored_[slot]);",
        STREAMED,
        "race",
        "no MTE3_MTE2 flag",
    ),
    dropped(
        "vector reads not waited for before the slot's next load",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE2>(read_[slot]);",
        ROWS,
        "race",
        "no V_MTE2 flag",
    ),
    dropped(
        "statistics not waited for",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_);",
        TILES,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "sums not waited for before their store",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(to_store_);",
        STREAMED,
        "race",
        "no V_MTE3 flag",
    ),
    dropped(
        "no barrier between dependent vector instructions",
        "vector_ops.h",
        "AscendC::PipeBarrier<PIPE_V>();",
        TILES,
        "race",
        "no PipeBarrier<PIPE_V>",
    ),
    Mutation(
        "no SyncAll before the second stage",
        "entry.h",
        "AscendC::SyncAll();",
        "{}",
        BIG_TILES,
        "race",
        "no SyncAll",
    ),
    dropped(
        "no SyncAll between the passes of a split group",
        "piece_walk.h",
        "AscendC::SyncAll();",
        SPLIT,
        "race",
        "no SyncAll",
    ),
    # sync
    Mutation(
        "flag set twice",
        "ring.h",
        "AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        "for (int i = 0; i < 2; ++i) AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        TILES,
        "sync",
        "doubles the one of",
    ),
    dropped(
        "flag left set at the end",
        "ring.h",
        "if (storing_) AscendC::WaitFlag<AscendC::HardEvent::MTE3_V>(stored_);",
        TILES,
        "sync",
        "is never waited for",
    ),
    dropped(
        "flag never set",
        "ring.h",
        "AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_);",
        TILES,
        "sync",
        "waits for ever",
    ),
    Mutation(
        "SyncAll missed by one core",
        "entry.h",
        "AscendC::SyncAll();",
        "{ if (context.core != 3) AscendC::SyncAll(); }",
        BIG_TILES,
        "sync",
        "had ended",
    ),
    Mutation(
        "atomic addition left on",
        "entry.h",
        "AscendC::TPipe pipe;",
        "AscendC::TPipe pipe; AscendC::SetAtomicAdd<float>();",
        TILES,
        "sync",
        "SetAtomicAdd",
    ),
    # bounds
    Mutation(
        "load longer than its rows",
        "transfer.h",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize);",
        "move.row_bytes = static_cast<uint32_t>((shape.cols + 8) * kSize);",
        TILES,
        "bounds",
        "DataCopy",
    ),
    Mutation(
        "store shifted by a row",
        "transfer.h",
        "AscendC::DataCopyPad(dst[offset + row * shape.stride]",
        "AscendC::DataCopyPad(dst[offset + (row + 1) * shape.stride]",
        TILES,
        "bounds",
        "outside the",
    ),
    Mutation(
        "more UB than the platform has",
        "ring.h",
        "pipe->InitBuffer(buffer_, bytes);",
        "pipe->InitBuffer(buffer_, bytes + 196608);",
        TILES,
        "bounds",
        "usable bytes",
    ),
    Mutation(
        "less UB than the plan gives",
        "ring.h",
        "pipe->InitBuffer(buffer_, bytes);",
        "pipe->InitBuffer(buffer_, bytes / 2);",
        TILES,
        "bounds",
        "outside its buffer",
    ),
    # params
    Mutation(
        "buffers not rounded to blocks",
        "ring.h",
        "used_ += RoundUpTo<kBlockBytes>(elems * static_cast<int32_t>(sizeof(T)));",
        "used_ += elems * static_cast<int32_t>(sizeof(T)) + 4;",
        TILES,
        "params",
        "not aligned to 32 bytes",
    ),
    Mutation(
        "rows cut inside an element",
        "transfer.h",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize);",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize - 2);",
        TILES,
        "params",
        "not a multiple of its 4-byte elements",
    ),
    Mutation(
        "cast to bfloat16_t without a round mode",
        "arithmetic.h",
        "AscendC::RoundMode::CAST_RINT",
        "AscendC::RoundMode::CAST_NONE",
        NARROW,
        "params",
        "from float to bfloat16_t with CAST_NONE",
    ),
    Mutation(
        "steps of a tree of sums that touch",
        "row_sums.h",
        "constexpr int32_t kTreeSlack = kLanes;",
        "constexpr int32_t kTreeSlack = 0;",
        UNEVEN,
        "params",
        "writes in one repeat what src0 reads in a later one",
    ),
    # init
    Mutation(
        "undefined padding in the sums",
        "transfer.h",
        "pad.isPad = move.padding > 0;",
        "pad.isPad = false;",
        TILES,
        "init",
        "which nobody wrote",
    ),
    Mutation(
        "last row not stored",
        "transfer.h",
        "AscendC::DataCopyPad(dst[offset + row * shape.stride], src[row * shape.pitch], params);",
        "if (shape.rows > 1 || shape.cols > 64) "
        "AscendC::DataCopyPad(dst[offset + row * shape.stride], src[row * shape.pitch], params);",
        TILES,
        "init",
        "were never written",
    ),
    # cache
    Mutation(
        "workspace read by the scalar unit",
        "entry.h",
        "AscendC::PipeBarrier<PIPE_ALL>();",
        "AscendC::PipeBarrier<PIPE_ALL>(); (void)context.workspace.GetValue(0);",
        BIG_TILES,
        "cache",
        "no DataCacheCleanAndInvalid",
    ),
)


@pytest.fixture(scope="module")
def libraries() -> list[Path]:
    folder = build("mutant_runner", "executor")
    return [folder / "libmutant_runner.a", folder / "libexecutor.a"]


def run(
    folder: Path, libraries: list[Path], problem: tuple[str, int, int, int, int]
) -> tuple[str, dict[str, list[str]]]:
    """Compile the kernel in ``folder`` and run the problem; all output, and the findings by check."""
    dtype, *sizes = problem
    entry = f"group_norm_grad_{dtype}"
    program = folder / f"mutant_{dtype}"
    if not program.exists():
        command = [
            *shlex.split(os.environ.get("CXX", "g++")),
            "-std=c++20",
            "-O0",
            "-w",
            f"-I{ROOT / 'kernels' / 'executor' / 'include'}",
            f'-DMUTANT_SOURCE="{folder / (entry + ".cpp")}"',
            f"-DMUTANT_ENTRY={entry}",
            str(RUNNER / "mutant.cpp"),
            # The runner calls the mutant, and both call the executor.
            *map(str, [libraries[0], libraries[1]]),
            "-pthread",
            "-o",
            str(program),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    arguments = [program, "Ascend910B1", dtype, *map(str, sizes), *map(str, SEEDS)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stdout}{done.stderr}"
    findings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("finding "):
            check, _, text = line.removeprefix("finding ").partition(": ")
            findings.setdefault(check, []).append(text)
    return done.stdout, findings


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "op_kernel"
    shutil.copytree(KERNEL, folder)
    return folder


@pytest.mark.parametrize("problem", sorted({m.problem for m in MUTATIONS}), ids=str)
def test_the_kernel_itself_is_clean(libraries, original, problem):
    output, findings = run(original, libraries, problem)
    assert findings == {}, output
    assert output.count("completed 1") == len(SEEDS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_mutation_is_caught(libraries, tmp_path, mutation):
    folder = tmp_path / "op_kernel"
    shutil.copytree(KERNEL, folder)
    source = folder / mutation.file
    text = source.read_text()
    assert text.count(mutation.old) == 1, (
        f"{mutation.file} has {text.count(mutation.old)} such lines"
    )
    source.write_text(text.replace(mutation.old, mutation.new))
    _, findings = run(folder, libraries, mutation.problem)
    assert any(mutation.text in found for found in findings.get(mutation.check, [])), findings


def test_every_check_catches_a_mutation():
    assert {m.check for m in MUTATIONS} == {"bounds", "params", "race", "init", "sync", "cache"}
