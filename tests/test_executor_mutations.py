"""The executor's checks must catch every mutation of the real kernel under the real plan."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from executor_build import ROOT, build
from kernel_mutations import MUTATIONS

KERNEL = ROOT / "kernels" / "op_kernel"
RUNNER = ROOT / "tests" / "executor_mutants"
SEEDS = (0, 1, 2, 3)  # 0 is program order


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


def digests(output: str) -> set[str]:
    """Of the results of every seed in a runner's output."""
    return set(re.findall(r"digest (\w+)", output))


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
    assert len(digests(output)) == 1


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_mutation_is_caught(libraries, original, tmp_path, mutation):
    folder = tmp_path / "op_kernel"
    shutil.copytree(KERNEL, folder)
    source = folder / mutation.file
    text = source.read_text()
    assert text.count(mutation.old) == 1, (
        f"{mutation.file} has {text.count(mutation.old)} such lines"
    )
    source.write_text(text.replace(mutation.old, mutation.new))
    output, findings = run(folder, libraries, mutation.problem)
    if mutation.check == "values":
        unmutated, _ = run(original, libraries, mutation.problem)
        assert findings == {}, "a check sees it, and should be named"
        assert not digests(output) & digests(unmutated)
        return
    assert any(mutation.text in found for found in findings.get(mutation.check, [])), findings


def test_every_check_catches_a_mutation():
    assert {m.check for m in MUTATIONS} - {"values"} == {
        "bounds",
        "params",
        "race",
        "init",
        "sync",
        "cache",
    }
