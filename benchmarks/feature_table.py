"""Makes README's feature table of the reports that `pytest --feature-report=FILE` writes; knows no results of its own.

    python benchmarks/feature_table.py out/features*.json [--check]

Every feature must have a verdict for every drop-in and device: the tests' outcome, a reason why it does not apply, or, for
a device that no report is about, who proves it. --check fails when README is not what the reports say, or a test failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DROPINS = ("function", "module", "enabled")
DEVICES = ("cpu", "npu")
BEGIN, END = "<!-- feature table: begin -->", "<!-- feature table: end -->"
README = Path(__file__).parent.parent / "README.md"
# Features that name no device in their tests are about the host: compilers, processes, tools.
NPU_ELSEWHERE = "see the drop-in suite of the loopback device"

Cell = dict[str, int]
Report = dict[str, dict[str, Cell]]


class Reasons:
    """Reasons for cells that do not apply, as footnotes in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"n/a [{self.texts.index(text) + 1}]"


def merged(paths: list[Path]) -> Report:
    """The reports added up."""
    total: Report = {}
    for path in paths:
        for feature, cells in json.loads(path.read_text()).items():
            for key, outcomes in cells.items():
                cell = total.setdefault(feature, {}).setdefault(key, {})
                for outcome, count in outcomes.items():
                    cell[outcome] = cell.get(outcome, 0) + count
    return total


def verdict(cells: dict[str, Cell], dropin: str, device: str, reasons: Reasons) -> str:
    """What a feature came to for one drop-in on one device."""
    counts: Cell = {}
    for key in (f"{dropin}/{device}", f"all/{device}"):
        for outcome, count in cells.get(key, {}).items():
            counts[outcome] = counts.get(outcome, 0) + count
    why = [o.removeprefix("not applicable: ") for o in counts if o.startswith("not applicable: ")]
    outcomes = {o: n for o, n in counts.items() if not o.startswith("not applicable: ")}
    if outcomes.get("failed"):
        return f"FAILED {outcomes['failed']} of {sum(outcomes.values())}"
    if outcomes.get("passed"):
        return f"pass ({outcomes['passed']})"
    if why:
        return reasons.mark(why[0])
    if outcomes:
        return ", ".join(f"{outcome} ({count})" for outcome, count in sorted(outcomes.items()))
    if device == "npu":
        on_cpu = verdict(cells, dropin, "cpu", reasons)
        return on_cpu if on_cpu.startswith("n/a") else reasons.mark(NPU_ELSEWHERE)
    return "MISSING"


def table(report: Report) -> str:
    """The markdown between the markers."""
    reasons = Reasons()
    columns = [(dropin, device) for device in DEVICES for dropin in DROPINS]
    heads = [f"{dropin}, {device}" for dropin, device in columns]
    lines = [
        "`function` is `group_norm_grad.group_norm`, `module` is `GroupNorm`, `enabled` is `F.group_norm` under `enable()`;",
        "in brackets the number of tests. `npu` is the loopback device: the real torch_npu without hardware.",
        "",
        f"| feature | {' | '.join(heads)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for feature in sorted(report, key=str.lower):
        cells = [verdict(report[feature], dropin, device, reasons) for dropin, device in columns]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    lines += ["", *(f"[{i}] {text}.  " for i, text in enumerate(reasons.texts, 1))]
    return "\n".join(lines).rstrip()


def with_table(text: str, content: str) -> str:
    """README with the content between its two markers."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main() -> int:
    """Writes README, or with --check compares it; non-zero for a failure, an empty cell or a table that is not current."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    content = table(merged(options.reports))
    text = README.read_text()
    wanted = with_table(text, content)
    problems = [line for line in content.splitlines() if "FAILED" in line or "MISSING" in line]
    if options.check and wanted != text:
        problems.append("README's table is not what the reports say")
    elif not options.check:
        README.write_text(wanted)
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
