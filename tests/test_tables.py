"""The generated tables in the documents are those of the tests that exist and of the numbers that are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import citizen  # noqa: E402
import feature_table  # noqa: E402


def test_the_feature_table_has_the_features_of_the_tests(tmp_path: Path) -> None:
    """Every marked feature has a row, every row a feature, and every row six verdicts without a failure."""
    report = tmp_path / "features.json"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:xdist", "-m", "feature"]
    done = subprocess.run(
        [*command, f"--feature-report={report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    text = feature_table.README.read_text()
    assert feature_table.features_in(text) == set(json.loads(report.read_text()))
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    for row in rows:
        verdicts = row.strip("| ").split(" | ")[1:]
        assert len(verdicts) == 6
        assert all(verdict == "pass" or verdict.startswith("n/a [") for verdict in verdicts), row


def test_the_overhead_table_is_that_of_the_kept_numbers() -> None:
    record = json.loads(citizen.RESULTS.read_text())
    text = citizen.README.read_text()
    assert text == citizen.with_table(text, citizen.table(record))
