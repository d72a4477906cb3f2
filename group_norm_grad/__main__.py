"""``python -m group_norm_grad``: version, environment, and which kernel runs where."""

from __future__ import annotations

from .backend import report


def main() -> int:
    """Print the report; always succeeds."""
    rows = report()
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:<{width}}  {row.value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
