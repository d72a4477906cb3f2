"""Calls of aclnnGroupNormBackward through ctypes: tensors, both phases, and the fixtures of the suites. No torch, no test."""

from __future__ import annotations

import ctypes
import struct
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


def fill(made: Made) -> None:
    """Other values in every place of the inputs, so that a mix-up shows."""
    for number, name in enumerate(("gradOut", "input", "mean", "rstd", "gamma")):
        if name in made.memory:
            address, size = made.memory[name]
            values = [1 + (7 * i + 3 * number) % 11 / 8 for i in range(size // 4)]
            acl.upload(address, struct.pack(f"{len(values)}f", *values))


def run(call: Call, stream, *, times: int = 1, repeatable: bool = False):
    """Both phases; returns what was made, with the executor's handle."""
    made = make(call)
    fill(made)
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


def outputs_of(made: Made) -> list[bytes]:
    return [acl.download(*made.memory[n]) for n in ("gradInput", "gradGammaOut", "gradBetaOut")]
