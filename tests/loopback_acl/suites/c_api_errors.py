"""Every rule of aclnnGroupNormBackward's arguments: its status, its text, and outputs untouched.

Runs in a process on the loopback device; tests/test_npu_c_api.py starts it.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint64, c_void_p
from dataclasses import replace

import pytest
from c_api import (  # noqa: F401
    BF16,
    DOUBLE,
    HALF,
    INT32,
    INVALID,
    NAMES,
    NHWC,
    NULL,
    NZ,
    Call,
    T,
    api,
    device,
    make,
    phase1,
    stream,
    with_,
    without,
)

from tests.loopback_acl import acl

BIG = 1 << 40
RULES = [
    # null
    *((without(name), NULL, f"Expected {name}") for name in ("gradOut", "input", "mean", "rstd")),
    ({"mask": None}, NULL, "outputMask"),
    *(
        (without(name), NULL, f"{name}, which outputMask asks for")
        for name in ("gradInput", "gradGammaOut", "gradBetaOut")
    ),
    ({"workspaceSize": False}, NULL, "workspaceSize"),
    ({"executor": False}, NULL, "executor"),
    *((with_(name, address=False), NULL, f"{name} to have device memory") for name in NAMES),
    # mask
    ({"mask": ()}, INVALID, "outputMask to have 3 values, but got 0"),
    ({"mask": (True, True)}, INVALID, "3 values, but got 2"),
    ({"mask": (True, True, True, True)}, INVALID, "3 values, but got 4"),
    # dtype
    *(
        (
            {**with_("gradOut", dtype=bad), **with_("input", dtype=bad)},
            INVALID,
            "gradOut to be float32, float16 or bfloat16",
        )
        for bad in (INT32, DOUBLE)
    ),
    (
        with_("input", dtype=HALF),
        INVALID,
        "input to have the dtype of gradOut, float32, but got float16",
    ),
    (with_("mean", dtype=HALF), INVALID, "mean to have dtype float32 like input, but got float16"),
    (with_("rstd", dtype=HALF), INVALID, "rstd to have the dtype of mean"),
    (with_("gamma", dtype=HALF), INVALID, "gamma to have the dtype of mean"),
    (with_("gradInput", dtype=HALF), INVALID, "gradInput to have the dtype of gradOut"),
    (with_("gradGammaOut", dtype=HALF), INVALID, "gradGammaOut to have the dtype of mean"),
    (
        with_("gradBetaOut", dtype=BF16),
        INVALID,
        "gradBetaOut to have the dtype of mean, float32, but got bfloat16",
    ),
    (
        {name: T(getattr(Call(), name).sizes, HALF) for name in ("gradOut", "input", "gradInput")}
        | {
            name: T(getattr(Call(), name).sizes, BF16)
            for name in ("mean", "rstd", "gamma", "gradGammaOut", "gradBetaOut")
        },
        INVALID,
        "mean to have dtype float16 or float32 like input, but got bfloat16",
    ),
    # attributes
    ({"group": 0}, INVALID, "num groups to be greater than 0, got 0"),
    ({"group": -2}, INVALID, "greater than 0, got -2"),
    ({"group": 3}, INVALID, "divisible by num_groups, but got C=4 and num_groups=3"),
    ({"N": -2}, INVALID, "non-negative, got N=-2"),
    ({"HxW": -6}, INVALID, "non-negative"),
    ({"N": BIG, "HxW": BIG}, INVALID, "fit in 64 bits"),
    # shape
    ({"N": 3}, INVALID, "gradOut to have N*C*HxW=72 elements, but got 48"),
    ({"C": 6}, INVALID, "gradOut to have N*C*HxW=72 elements"),
    ({"HxW": 5}, INVALID, "gradOut to have N*C*HxW=40 elements"),
    (with_("input", sizes=(2, 4, 5)), INVALID, "input to have N*C*HxW=48 elements, but got 40"),
    (with_("mean", sizes=(2,)), INVALID, "mean to have N*group=4 elements, but got 2"),
    (with_("rstd", sizes=(2, 3)), INVALID, "rstd to have N*group=4 elements, but got 6"),
    (with_("gamma", sizes=(3,)), INVALID, "gamma to have C=4 elements, but got 3"),
    (
        with_("gradInput", sizes=(2, 4, 6)),
        INVALID,
        "gradInput to have the shape (2, 4, 2, 3) of input, but got (2, 4, 6)",
    ),
    (
        with_("gradGammaOut", sizes=(5,)),
        INVALID,
        "gradGammaOut to have the shape (4) of gamma, but got (5)",
    ),
    (
        with_("gradBetaOut", sizes=(4, 1)),
        INVALID,
        "gradBetaOut to have the shape (4) of gamma, but got (4, 1)",
    ),
    (
        without("gamma") | with_("gradBetaOut", sizes=(2, 2)),
        INVALID,
        "the shape (4), (C) without gamma, but got (2, 2)",
    ),
    (
        with_("gradOut", sizes=(2, 4, 2, 3, 1, 1, 1, 1, 1)),
        INVALID,
        "gradOut to have 0 to 8 dimensions, but got 9",
    ),
    (
        with_("input", format=NZ),
        INVALID,
        "input to have format ND, NCL, NCHW or NCDHW, but got aclFormat 29",
    ),
    (with_("gradInput", format=NHWC), INVALID, "gradInput to have format"),
]


@pytest.mark.parametrize(("change", "status", "text"), RULES, ids=[r[2][:60] for r in RULES])
def test_a_broken_rule_is_refused_and_nothing_is_written(change, status, text):
    call = replace(Call(), **change)
    made = make(call)
    got, size, executor, reason = phase1(call, made)
    assert (got, text in reason) == (status, True), (got, reason)
    assert size == 77, "workspaceSize was written"
    assert executor is None, "executor was written"
    assert made.untouched()
    made.free()


ORDER = [
    ({"rstd": None, "mask": ()}, NULL, "rstd"),
    ({"mask": ()} | with_("mean", dtype=HALF), INVALID, "outputMask"),
    ({"group": 0} | with_("mean", dtype=HALF), INVALID, "dtype"),
    ({"group": 0} | with_("mean", sizes=(7,)), INVALID, "num groups"),
]


@pytest.mark.parametrize(("change", "status", "text"), ORDER)
def test_of_two_broken_rules_the_first_one_is_told(change, status, text):
    """Null, mask, dtype, attributes, shape."""
    call = replace(Call(), **change)
    made = make(call)
    got, _, _, reason = phase1(call, made)
    assert got == status
    assert text in reason
    made.free()


def test_phase_2_refuses_nulls_short_workspaces_and_foreign_executors(stream):
    made = make(Call())
    _, size, executor, _ = phase1(Call(), made)
    handle = c_void_p(executor)
    workspace = acl.malloc(size)
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size), None, stream) == NULL
    assert api.aclnnGroupNormBackward(None, c_uint64(size), handle, stream) == NULL
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size - 1), handle, stream) == INVALID
    foreign = ctypes.create_string_buffer(8192)
    assert (
        api.aclnnGroupNormBackward(
            workspace, c_uint64(size), c_void_p(ctypes.addressof(foreign)), stream
        )
        == INVALID
    )
    assert made.untouched()
    # After all that the executor still serves.
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size), handle, stream) == 0
    acl.call("aclrtSynchronizeStream", stream)
    acl.free(workspace)
    made.free()


def test_a_stream_that_is_gone_is_a_runtime_error():
    made = make(Call())
    _, size, executor, _ = phase1(Call(), made)
    workspace, gone = acl.malloc(size), acl.stream()
    acl.call("aclrtDestroyStream", gone)
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size), c_void_p(executor), gone) == 361001
    assert made.untouched()
    acl.free(workspace)
    made.free()
