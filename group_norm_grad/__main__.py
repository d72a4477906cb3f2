"""``python -m group_norm_grad``: version, environment, and which kernel runs where."""

from __future__ import annotations

import argparse
import os
import sys

from . import _C
from .backend import report


def main() -> int:
    """Print the report, or with --opp-path the C API's directory, which may be missing (exit code 1)."""
    parser = argparse.ArgumentParser(prog="python -m group_norm_grad", description=__doc__)
    parser.add_argument(
        "--opp-path",
        action="store_true",
        help="print the directory of the NPU's C API, for ASCEND_CUSTOM_OPP_PATH",
    )
    if parser.parse_args().opp_path:
        path = _C.opp_path()
        print(
            path or "group_norm_grad was built without the NPU's C API",
            file=None if path else sys.stderr,
        )
        return 0 if path else 1
    rows = report()
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:<{width}}  {row.value}")
    return 0


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not write its buffer once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise SystemExit(code)
