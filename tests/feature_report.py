"""A pytest plugin: `--feature-report=FILE` writes what each marked feature came to, by drop-in and device, as JSON.

Only results are written here; benchmarks/feature_table.py makes README's table of them. With --collect-only the report
names the features, without results.
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

    A marker's not_applicable={drop-in or drop-in/device: reason} says where the feature has no meaning.
    """
    arguments: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    for marker in item.iter_markers(PROPERTY):
        feature = f"{section_of(item)}/{marker.args[0]}"
        dropin = str(arguments.get("dropin", marker.kwargs.get("dropin", "all")))
        device = str(arguments.get("device", "cpu"))
        item.user_properties.append((PROPERTY, [feature, f"{dropin}/{device}", ""]))
        for other, reason in marker.kwargs.get("not_applicable", {}).items():
            key = other if "/" in other else f"{other}/{device}"
            item.user_properties.append((PROPERTY, [feature, key, f"not applicable: {reason}"]))
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out the tests of a drop-in on a device where a marker says that the feature does not apply."""
    items[:] = [item for item in items if not _is_not_applicable(item)]


def _is_not_applicable(item: pytest.Item) -> bool:
    arguments: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    key = f"{arguments.get('dropin')}/{arguments.get('device')}"
    return any(
        key in marker.kwargs.get("not_applicable", {}) for marker in item.iter_markers(PROPERTY)
    )


def section_of(item: pytest.Item) -> str:
    """The test module, which is the section of the table that the feature belongs to."""
    return Path(item.path).stem.removeprefix("test_")


class FeatureReport:
    """Counts outcomes: {"section/feature": {"dropin/device": {outcome: count}}}, outcomes as pytest names them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, dict[str, dict[str, int]]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for marker in item.iter_markers(PROPERTY):
                self.counts.setdefault(f"{section_of(item)}/{marker.args[0]}", {})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test counts once: when it was called, or when its set-up or tear-down went wrong or skipped it.
        if report.when != "call" and report.outcome == "passed":
            return
        for name, value in report.user_properties:
            if name != PROPERTY:
                continue
            feature, key, not_applicable = value  # type: ignore[misc]
            cell = self.counts.setdefault(feature, {}).setdefault(key, {})
            outcome = not_applicable or report.outcome
            cell[outcome] = cell.get(outcome, 0) + 1

    def pytest_sessionfinish(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.counts, indent=1, sort_keys=True) + "\n")
