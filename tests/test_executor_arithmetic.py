"""The executor's arithmetic: rounding, masks, strides, reductions and moves, checked by a C++ program against plain loops."""

import subprocess

import pytest
from executor_build import build

CHECKS = (
    "float to half, all modes",
    "float to bfloat16, all modes",
    "half and bfloat16 to float, all values",
    "CTRL[48] = 0 saturates 16-bit results",
    "by default 16-bit results keep infinity",
    "a bit mask leaves the other lanes alone",
    "block and repeat strides of every operand",
    "Brcb and a block stride of 0 multiply rows by scalars",
    "a destination repeat stride of 0 adds up rows",
    "counter mode counts elements over repeats",
    "a strided Cast from half moves half as many blocks",
    "WholeReduceSum adds neighbours first",
    "BlockReduceSum gives eight sums a repeat",
    "a block with no active lane: kept on 2201, zero on 3510",
    "PairReduceSum adds pairs",
    "Gather takes byte offsets",
    "Copy moves masked blocks by its own strides",
    "MulAddDst and Axpy round once",
    "DataCopyPad pads rows, left and right",
    "results do not depend on the schedule",
    "counts are those of the program",
)


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    program = build("arithmetic") / "arithmetic"
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=True)
    return dict(line.split(" | ") for line in done.stdout.splitlines())


def test_all_checks_ran(results):
    assert len(results) == len(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_check(results, name):
    assert results[name] == ""
