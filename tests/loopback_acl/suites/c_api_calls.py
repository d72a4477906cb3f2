"""What aclnnGroupNormBackward accepts: shapes, strides, masks, and the lives of executors.

Runs in a process on the loopback device; tests/test_npu_c_api.py starts it.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int64, c_uint64, c_void_p
from dataclasses import replace

import pytest
from c_api import (  # noqa: F401
    EXECUTOR,
    FLOAT,
    HALF,
    INVALID,
    NAMES,
    ND,
    Call,
    T,
    api,
    base,
    device,
    fill,
    make,
    outputs_of,
    phase1,
    run,
    stream,
    without,
)

from tests.loopback_acl import acl

ACCEPTED = {
    "all": {},
    "no_gamma": without("gamma"),
    "only_grad_input": {"mask": (True, False, False), "gradGammaOut": None, "gradBetaOut": None},
    "nothing": {"mask": (False,) * 3, "gradInput": None, "gradGammaOut": None, "gradBetaOut": None},
    "flat_and_mean_in_one_dim": {"gradOut": T((48,)), "mean": T((4,)), "rstd": T((2, 1, 2))},
    "eight_dims": {n: T((2, 1, 4, 1, 2, 1, 3, 1)) for n in ("gradOut", "input", "gradInput")},
    "no_dims": {
        **{n: T(()) for n in NAMES},
        "N": 1,
        "C": 1,
        "HxW": 1,
        "group": 1,
    },
    "empty": {
        **{n: T((0, 4, 6)) for n in ("gradOut", "input", "gradInput")},
        "N": 0,
        "mean": T((0, 2)),
        "rstd": T((0, 2)),
    },
    "no_channels": {
        **{n: T((2, 0, 6)) for n in ("gradOut", "input", "gradInput")},
        **{n: T((0,)) for n in ("gamma", "gradGammaOut", "gradBetaOut")},
        "C": 0,
    },
    "half_with_float_statistics": {
        n: T((2, 4, 2, 3), HALF) for n in ("gradOut", "input", "gradInput")
    },
    "strided": {
        n: T((2, 4, 2, 3), FLOAT, ND, (24, 1, 12, 4)) for n in ("gradOut", "input", "gradInput")
    }
    | {
        "mean": T((2, 2), FLOAT, ND, (1, 2)),
        "gamma": T((4,), FLOAT, ND, (3,)),
        "gradGammaOut": T((4,), FLOAT, ND, (2,)),
    },
    "broadcast_gradient": {"gradOut": T((2, 4, 2, 3), FLOAT, ND, (0, 0, 0, 0))},
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_allowed_runs(change, stream):
    call = replace(Call(), **change)
    made, _, _ = run(call, stream)
    numel = call.N * call.C * call.HxW
    for name, asked in zip(("gradInput", "gradGammaOut", "gradBetaOut"), call.mask, strict=True):
        spec = getattr(call, name)
        if spec is None or not asked:
            continue
        address, size = made.memory[name]
        wanted = numel > 0 if name == "gradInput" else call.C > 0
        assert (acl.download(address, size) != b"\xff" * size) == wanted, name
        if spec.strides:  # the gaps between the elements stay as they were
            data = acl.download(address, size)
            used = {0}
            for count, stride in zip(spec.sizes, spec.strides, strict=True):
                used = {at + i * stride for at in used for i in range(count)}
            gaps = [i for i in range(size // 4) if i not in used]
            assert all(data[4 * i : 4 * i + 4] == b"\xff" * 4 for i in gaps), name
    made.free()


IMAGES = ("gradOut", "input", "gradInput")


@pytest.mark.parametrize("dims", range(9))
def test_only_the_counts_matter_and_not_the_dims(dims, stream):
    """0 to 8 of them: the same numbers as from the rows of a matrix."""
    sizes = (
        ((), (6,), (2, 3), (2, 3, 1), (1, 2, 1, 3))[dims]
        if dims < 5
        else (1,) * (dims - 2) + (2, 3)
    )
    small = {"N": 1, "group": 1, "mean": T((1,)), "rstd": T((1,))}
    if dims == 0:
        small |= {
            "C": 1,
            "HxW": 1,
            **{n: T((1,)) for n in ("gamma", "gradGammaOut", "gradBetaOut")},
        }
    else:
        small |= {
            "C": 2,
            "HxW": 3,
            **{n: T((2,)) for n in ("gamma", "gradGammaOut", "gradBetaOut")},
        }
    call = replace(Call(), **small)
    made, _, _ = run(replace(call, **{n: T(sizes) for n in IMAGES}), stream)
    flat, _, _ = run(replace(call, **{n: T((call.C, call.HxW)) for n in IMAGES}), stream)
    assert outputs_of(made) == outputs_of(flat)
    made.free()
    flat.free()


def test_many_executors_live_at_once(stream):
    """Each remembers its own call, whatever the order of the second phases."""
    alone, together = [], []
    calls = [
        replace(
            Call(), N=n, **{name: T((n, 4, 6)) for name in IMAGES}, mean=T((n, 2)), rstd=T((n, 2))
        )
        for n in (1, 2)
    ] * 20
    for call in calls:
        made, _, _ = run(call, stream)
        alone.append(outputs_of(made))
        made.free()
    prepared = []
    for call in calls:
        made = make(call)
        fill(made)
        status, size, executor, reason = phase1(call, made)
        assert status == 0, reason
        prepared.append((made, size, c_void_p(executor)))
    assert len({executor.value for _, _, executor in prepared}) == len(calls)
    for _, size, executor in reversed(prepared):
        workspace = acl.malloc(max(size, 1))
        assert api.aclnnGroupNormBackward(workspace, c_uint64(size), executor, stream) == 0
        acl.call("aclrtSynchronizeStream", stream)
        acl.free(workspace)
    for made, _, _ in prepared:
        together.append(outputs_of(made))
        made.free()
    assert together == alone


def test_an_executor_serves_once(stream):
    made, handle, size = run(Call(), stream)
    workspace = acl.malloc(size)
    for _ in range(2):
        assert api.aclnnGroupNormBackward(workspace, c_uint64(size), handle, stream) == INVALID
        assert "phase 2 has used it already" in api.aclnnGroupNormBackwardGetLastError().decode()
    assert api.aclDestroyAclOpExecutor(handle) != 0
    acl.free(workspace)
    made.free()


def test_a_repeatable_executor_serves_till_it_is_destroyed(stream):
    made, handle, size = run(Call(), stream, times=5, repeatable=True)
    assert api.aclDestroyAclOpExecutor(handle) == 0
    workspace = acl.malloc(size)
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size), handle, stream) == INVALID
    acl.free(workspace)
    made.free()


def test_executors_of_other_operators_are_handed_on(stream):
    """Our library stands before the base library, whose operators' executors must still work."""
    copy = ctypes.CDLL("libopapi.so")
    made = make(Call())
    size, executor = c_uint64(), c_void_p()
    status = copy.aclnnInplaceCopyGetWorkspaceSize(
        made.descriptors["gradInput"], made.descriptors["input"], byref(size), byref(executor)
    )
    assert status == 0
    assert api.aclSetAclOpExecutorRepeatable(executor) == 0
    assert api.aclDestroyAclOpExecutor(executor) == 0
    assert api.aclSetAclOpExecutorRepeatable(None) == EXECUTOR == api.aclDestroyAclOpExecutor(None)
    made.free()


def test_the_base_library_refuses_our_executor(stream):
    """A program that calls past our library gets an error and no crash."""
    made = make(Call())
    _, _, executor, _ = phase1(Call(), made)
    assert base.aclSetAclOpExecutorRepeatable(c_void_p(executor)) != 0
    assert base.aclDestroyAclOpExecutor(c_void_p(executor)) != 0
    assert api.aclDestroyAclOpExecutor(c_void_p(executor)) == 0
    made.free()


def test_the_determinism_option_is_accepted_and_changes_nothing(stream):
    results = []
    for level in (0, 1):
        acl.call("aclrtCtxSetSysParamOpt", 0, c_int64(level))
        made, _, _ = run(Call(), stream)
        results.append(outputs_of(made))
        made.free()
    acl.call("aclrtCtxSetSysParamOpt", 0, c_int64(0))
    assert results[0] == results[1]
