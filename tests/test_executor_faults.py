"""Every seeded defect of tests/executor_faults raises its message, and its clean twin stays silent."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from executor_build import ROOT, build

FOLDER = ROOT / "tests" / "executor_faults"
FILES = sorted(path.stem for path in FOLDER.glob("*.cpp") if path.stem not in ("all", "main"))
SEEDS = range(25)  # 0 is program order
CHECKS = {"bounds", "params", "race", "init", "sync", "cache"}


@dataclass
class Fault:
    check: str
    changes_numbers: bool
    expected: list[str]


@dataclass
class Outcome:
    findings: dict[int, list[tuple[str, str]]] = field(default_factory=dict)  # by seed: check, text
    digests: dict[int, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def program() -> Path:
    return build("faults") / "faults"


@pytest.fixture(scope="module")
def faults(program) -> dict[str, Fault]:
    listed = {}
    text = subprocess.run([program, "list"], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        name, check, changes, *expected = line.split("\t")
        listed[name] = Fault(check, changes == "1", expected)
    return listed


def run(program: Path, name: str, twin: str) -> Outcome:
    command = [program, name, twin, *map(str, SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{name} {twin} ended with {done.returncode}: {done.stderr}"
    outcome = Outcome()
    seed = -1
    for line in done.stdout.splitlines():
        if line.startswith("seed "):
            _, number, _, digest, *_ = line.split()
            seed = int(number)
            outcome.findings[seed] = []
            outcome.digests[seed] = digest
        else:
            check, _, text = line.removeprefix("finding ").partition(": ")
            outcome.findings[seed].append((check, text))
    return outcome


def test_every_file_is_listed_and_every_check_has_faults(faults):
    assert sorted(faults) == FILES
    assert len(FILES) >= 30
    for check in CHECKS:
        assert sum(fault.check == check for fault in faults.values()) >= 2, check
    assert {fault.check for fault in faults.values()} == CHECKS


@pytest.mark.parametrize("name", FILES)
def test_defect_is_found_and_clean_twin_is_silent(program, faults, name):
    fault = faults[name]
    defect = run(program, name, "defect")
    clean = run(program, name, "clean")
    for seed in SEEDS:
        assert clean.findings[seed] == [], f"seed {seed}"
        hits = [
            text
            for check, text in defect.findings[seed]
            if check == fault.check and all(part in text for part in fault.expected)
        ]
        assert hits, (
            f"seed {seed}: expected {fault.check} {fault.expected}, got {defect.findings[seed]}"
        )
    assert len(set(clean.digests.values())) == 1
    if fault.changes_numbers:
        assert set(defect.digests.values()) - set(clean.digests.values()), (
            "no schedule shows the defect"
        )
