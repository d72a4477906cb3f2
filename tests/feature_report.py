"""A pytest plugin: `--feature-report=FILE` writes what each marked feature came to, by drop-in and device, as JSON.

Only results are written here; benchmarks/feature_table.py makes README's table of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

PROPERTY = "feature"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--feature-report", metavar="FILE", help="write the results of marked features to FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "feature(name): the test proves this feature of the table in README"
    )
    path = config.getoption("--feature-report")
    if path and not hasattr(config, "workerinput"):  # with xdist, the main process alone writes
        config.pluginmanager.register(FeatureReport(Path(path)), "feature-report")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """The drop-in and the device of a test are its parameters; a test that has none speaks for all, or for the CPU.

    A marker's not_applicable={drop-in: reason} says where the feature has no meaning.
    """
    arguments: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    for marker in item.iter_markers(PROPERTY):
        name = str(marker.args[0])
        dropin = str(arguments.get("dropin", marker.kwargs.get("dropin", "all")))
        device = str(arguments.get("device", "cpu"))
        item.user_properties.append((PROPERTY, [name, dropin, device, ""]))
        for other, reason in marker.kwargs.get("not_applicable", {}).items():
            item.user_properties.append(
                (PROPERTY, [name, other, device, f"not applicable: {reason}"])
            )
    return (yield)


class FeatureReport:
    """Counts outcomes: {feature: {"dropin/device": {outcome: count}}}, outcomes as pytest names them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, dict[str, dict[str, int]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test counts once: when it was called, or when its set-up or tear-down went wrong or skipped it.
        if report.when != "call" and report.outcome == "passed":
            return
        for name, value in report.user_properties:
            if name != PROPERTY:
                continue
            feature, dropin, device, not_applicable = value  # type: ignore[misc]
            cell = self.counts.setdefault(feature, {}).setdefault(f"{dropin}/{device}", {})
            outcome = not_applicable or report.outcome
            cell[outcome] = cell.get(outcome, 0) + 1

    def pytest_sessionfinish(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.counts, indent=1, sort_keys=True) + "\n")
