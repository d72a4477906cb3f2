"""Makes README's feature table of the reports that `pytest --feature-report=FILE` writes; knows no results of its own.

    python benchmarks/feature_table.py out/features*.json [--check]

Every feature must have a verdict for every drop-in and device: the tests' outcome, or a reason why it does not apply.
Features of one section with the same verdicts share a row. --check fails when README is not what the reports say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DROPINS = ("function", "module", "enabled")
DEVICES = ("cpu", "npu")
BEGIN, END = "<!-- feature table: begin -->", "<!-- feature table: end -->"
SEPARATOR = " · "
README = Path(__file__).parent.parent / "README.md"
# The test modules in the order of the table: the section's title, and why a test without a device says nothing of the NPU.
SECTIONS = {
    "transforms": ("torch.func", "about no device"),
    "citizen_autograd": ("autograd", "gradcheck needs float64, which the NPU kernels do not have"),
    "compile": (
        "torch.compile, torch.export",
        "about the host: graphs, guards, schemas, compilers",
    ),
    "autocast": ("mixed precision, global switches", "about no device"),
    "citizen_modules": ("modules", "about the host: Python objects and their state"),
    "distributed": ("distributed (gloo)", "the loopback device has no collectives"),
    "threads": ("threads, processes", "about the host's memory and processes"),
    "opinfo_replay": ("PyTorch's own OpInfo tests", "PyTorch's samples for the CPU"),
    "opcheck": ("torch.library", "PyTorch's samples for the CPU"),
}

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


def verdict(cells: dict[str, Cell], dropin: str, device: str, elsewhere: str) -> str:
    """What a feature came to for one drop-in on one device; `elsewhere` says why no npu test may say so."""
    counts: Cell = {}
    for key in (f"{dropin}/{device}", f"all/{device}"):
        for outcome, count in cells.get(key, {}).items():
            counts[outcome] = counts.get(outcome, 0) + count
    outcomes = {o: n for o, n in counts.items() if not o.startswith("not applicable: ")}
    if bad := {o: n for o, n in outcomes.items() if o != "passed"}:
        return ", ".join(f"{o.upper()} {n} of {sum(outcomes.values())}" for o, n in bad.items())
    if outcomes:
        return "pass"
    if counts:
        return min(counts)
    if device == "cpu":
        return "MISSING"
    on_cpu = verdict(cells, dropin, "cpu", elsewhere)
    if on_cpu == "pass":
        return f"not applicable: {elsewhere}"
    return on_cpu


def table(report: Report) -> str:
    """The markdown between the markers."""
    reasons = Reasons()
    columns = [(dropin, device) for device in DEVICES for dropin in DROPINS]
    heads = [f"{dropin}, {device}" for dropin, device in columns]
    lines = [
        "`function` is `group_norm_grad.group_norm`, `module` is `GroupNorm`, `enabled` is `F.group_norm` under `enable()`.",
        "`npu` is the loopback device: the real torch_npu without hardware, our kernel on the executor. `make features`",
        "runs the tests and writes this.",
        "",
        f"| feature | {' | '.join(heads)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for section, (title, elsewhere) in SECTIONS.items():
        rows: dict[tuple[str, ...], list[str]] = {}
        for feature in sorted(report, key=str.lower):
            name = feature.removeprefix(f"{section}/")
            if name != feature:
                cells = tuple(
                    verdict(report[feature], *column, elsewhere=elsewhere) for column in columns
                )
                rows.setdefault(cells, []).append(name)
        for cells, names in sorted(rows.items(), key=lambda row: -row[0].count("pass")):
            shown = [
                reasons.mark(cell.removeprefix("not applicable: "))
                if cell.startswith("not applicable: ")
                else cell
                for cell in cells
            ]
            lines.append(f"| **{title}**: {SEPARATOR.join(names)} | {' | '.join(shown)} |")
    lines += ["", *(f"[{i}] {text}.  " for i, text in enumerate(reasons.texts, 1))]
    return "\n".join(lines).rstrip()


def features_in(text: str) -> set[str]:
    """The features, as "section/feature", that README's table has rows for."""
    titles = {title: section for section, (title, _) in SECTIONS.items()}
    rows = [line for line in text.split(BEGIN)[1].split(END)[0].splitlines() if "| **" in line]
    found = set()
    for row in rows:
        title, names = row.removeprefix("| **").split(" |")[0].split("**: ")
        found |= {f"{titles[title]}/{name}" for name in names.split(SEPARATOR)}
    return found


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
    problems = [
        line
        for line in content.splitlines()
        if any(word in line for word in ("FAILED", "SKIPPED", "MISSING"))
    ]
    if options.check and wanted != text:
        problems.append("README's table is not what the reports say")
    elif not options.check:
        README.write_text(wanted)
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
