"""Every rule of aclnnGroupNormBackward's arguments, through ctypes: its status, its text, and outputs untouched. No torch.

Runs in a process on the loopback device; tests/test_npu_c_api.py starts it.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_bool, c_int, c_int64, c_uint64, c_void_p
from dataclasses import dataclass, field, replace

import pytest

from tests.loopback_acl import acl

FLOAT, HALF, INT32, DOUBLE, BF16 = 0, 1, 3, 11, 27
ND, NHWC, NZ = 2, 1, 29
NULL, INVALID, EXECUTOR = 161001, 161002, 561103
BYTES = {FLOAT: 4, HALF: 2, INT32: 4, DOUBLE: 8, BF16: 2}

api = ctypes.CDLL("libcust_opapi.so")
api.aclnnGroupNormBackwardGetLastError.restype = ctypes.c_char_p
base = ctypes.CDLL("libnnopbase.so")
base.aclCreateTensor.restype = c_void_p
base.aclCreateBoolArray.restype = c_void_p


@dataclass(frozen=True)
class T:
    """A tensor to be made: its sizes, dtype, format; strides in elements or contiguous."""

    sizes: tuple[int, ...]
    dtype: int = FLOAT
    format: int = ND
    strides: tuple[int, ...] | None = None
    address: bool = True


@dataclass(frozen=True)
class Call:
    """The arguments of phase 1; N=2, C=4, HxW=6, group=2 and all right until a test changes one."""

    gradOut: T | None = T((2, 4, 2, 3))
    input: T | None = T((2, 4, 2, 3))
    mean: T | None = T((2, 2))
    rstd: T | None = T((2, 2))
    gamma: T | None = T((4,))
    N: int = 2
    C: int = 4
    HxW: int = 6
    group: int = 2
    mask: tuple[bool, ...] | None = (True, True, True)
    gradInput: T | None = T((2, 4, 2, 3))
    gradGammaOut: T | None = T((4,))
    gradBetaOut: T | None = T((4,))
    workspaceSize: bool = True
    executor: bool = True


@dataclass
class Made:
    """Device memory and descriptors of a call."""

    descriptors: dict[str, c_void_p | None] = field(default_factory=dict)
    memory: dict[str, tuple[c_void_p, int]] = field(default_factory=dict)

    def untouched(self) -> bool:
        return all(acl.download(a, size) == b"\xff" * size for a, size in self.memory.values())

    def free(self) -> None:
        for descriptor in self.descriptors.values():
            if descriptor:
                base.aclDestroyTensor(descriptor)
        for address, _ in self.memory.values():
            acl.free(address)


NAMES = ("gradOut", "input", "mean", "rstd", "gamma", "gradInput", "gradGammaOut", "gradBetaOut")


def make(call: Call) -> Made:
    made = Made()
    for name in NAMES:
        spec: T | None = getattr(call, name)
        if spec is None:
            made.descriptors[name] = None
            continue
        size = max(BYTES[spec.dtype] * 64, 512)
        made.memory[name] = (acl.malloc(size), size)
        dims = (c_int64 * max(len(spec.sizes), 1))(*spec.sizes)
        strides = (c_int64 * len(spec.strides))(*spec.strides) if spec.strides else None
        storage = (c_int64 * 1)(64)
        made.descriptors[name] = c_void_p(
            base.aclCreateTensor(
                dims,
                c_uint64(len(spec.sizes)),
                c_int(spec.dtype),
                strides,
                c_int64(0),
                c_int(spec.format),
                storage,
                c_uint64(1),
                made.memory[name][0] if spec.address else None,
            )
        )
    return made


def phase1(call: Call, made: Made) -> tuple[int, int, int | None, str]:
    """Status, workspace bytes, executor, error text; the out-parameters start as 77 and null."""
    mask = None
    if call.mask is not None:
        mask = c_void_p(
            base.aclCreateBoolArray((c_bool * len(call.mask))(*call.mask), c_uint64(len(call.mask)))
        )
    size, executor = c_uint64(77), c_void_p(None)
    d = made.descriptors
    status = api.aclnnGroupNormBackwardGetWorkspaceSize(
        d["gradOut"],
        d["input"],
        d["mean"],
        d["rstd"],
        d["gamma"],
        c_int64(call.N),
        c_int64(call.C),
        c_int64(call.HxW),
        c_int64(call.group),
        mask,
        d["gradInput"],
        d["gradGammaOut"],
        d["gradBetaOut"],
        byref(size) if call.workspaceSize else None,
        byref(executor) if call.executor else None,
    )
    if mask is not None:
        base.aclDestroyBoolArray(mask)
    return status, size.value, executor.value, api.aclnnGroupNormBackwardGetLastError().decode()


@pytest.fixture(scope="module", autouse=True)
def device():
    acl.start()
    yield
    assert acl.library.LoopbackAclLiveAllocations() == 0
    assert base.LoopbackAclLiveDescriptors() == 0
    acl.call("aclFinalize")


@pytest.fixture
def stream():
    handle = acl.stream()
    yield handle
    acl.call("aclrtDestroyStream", handle)


def without(name: str):
    return {name: None}


def with_(name: str, **change):
    return {name: replace(getattr(Call(), name), **change)}


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


def run(call: Call, stream, *, times: int = 1, repeatable: bool = False):
    """Both phases; returns what was made, with the executor's handle."""
    made = make(call)
    for name in ("gradOut", "input", "mean", "rstd", "gamma"):
        if name in made.memory:
            address, size = made.memory[name]
            acl.upload(address, b"\x01" * size)
    status, size, executor, reason = phase1(call, made)
    assert status == 0, reason
    assert executor
    handle = c_void_p(executor)
    if repeatable:
        assert api.aclSetAclOpExecutorRepeatable(handle) == 0
    workspace = acl.malloc(size) if size else c_void_p(None)
    for _ in range(times):
        status = api.aclnnGroupNormBackward(workspace, c_uint64(size), handle, stream)
        assert status == 0, api.aclnnGroupNormBackwardGetLastError()
    acl.call("aclrtSynchronizeStream", stream)
    if size:
        acl.free(workspace)
    return made, handle, size


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


def test_a_stream_that_is_gone_is_a_runtime_error():
    made = make(Call())
    _, size, executor, _ = phase1(Call(), made)
    workspace, gone = acl.malloc(size), acl.stream()
    acl.call("aclrtDestroyStream", gone)
    assert api.aclnnGroupNormBackward(workspace, c_uint64(size), c_void_p(executor), gone) == 361001
    assert made.untouched()
    acl.free(workspace)
    made.free()


def test_the_determinism_option_is_accepted_and_changes_nothing(stream):
    results = []
    for level in (0, 1):
        acl.call("aclrtCtxSetSysParamOpt", 0, c_int64(level))
        made, _, _ = run(Call(), stream)
        results.append(
            [acl.download(*made.memory[n]) for n in ("gradInput", "gradGammaOut", "gradBetaOut")]
        )
        made.free()
    acl.call("aclrtCtxSetSysParamOpt", 0, c_int64(0))
    assert results[0] == results[1]
