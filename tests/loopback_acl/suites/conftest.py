"""What the suites share that run inside a process on the loopback runtime; tests/test_npu_*.py start them."""

from __future__ import annotations

import ctypes
import gc
import time
import os
import random
from collections.abc import Iterator

import pytest
import torch
import torch_npu  # noqa: F401  (torch has loaded it already; a failure must say why)
from torch import Tensor

_acl = ctypes.CDLL("libascendcl.so")
_acl.LoopbackAclViolations.restype = ctypes.c_uint64
SOC = os.environ["LOOPBACK_ACL_SOC"]
HAS_KERNEL = SOC != "Ascend910A"
SUPPORTS_BF16 = HAS_KERNEL
if SOC == "Ascend910A":
    # There torch_npu compiles operators just in time by default; the loopback device has those of the library only.
    torch.npu.set_compile_mode(jit_compile=False)
_arch = "3510" if SOC.startswith("Ascend950") else "2201"
_kernel = ctypes.CDLL(
    f"{os.environ['GROUP_NORM_GRAD_KERNEL_DIR']}/libgroup_norm_grad_kernel_{_arch}.so"
)
_kernel.LoopbackKernelCalls.restype = ctypes.c_uint64


def kernel_calls() -> int:
    """How often the executor has run our kernel in this process, all streams drained."""
    torch.npu.synchronize()
    return _kernel.LoopbackKernelCalls()


def to_npu(tensor: Tensor) -> Tensor:
    """The tensor on the device with its strides, offset and the whole storage around it."""
    elements = tensor.untyped_storage().nbytes() // tensor.element_size()
    whole = torch.as_strided(tensor, (elements,), (1,), 0).npu()
    return torch.as_strided(whole, tensor.shape, tensor.stride(), tensor.storage_offset())


@pytest.fixture(autouse=True)
def no_violation() -> Iterator[None]:
    """Every test leaves the device without a finding of the kernel's checks or a broken rule of the runtime."""
    torch.manual_seed(0)
    random.seed(0)
    before = _acl.LoopbackAclViolations()
    yield
    torch.npu.synchronize()
    assert _acl.LoopbackAclViolations() == before


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    """Every test gives back the device memory that it took."""
    before = torch.npu.memory_allocated()
    yield
    torch.npu.synchronize()
    # A traceback or another cycle may hold some, and autograd's thread drops its last references after the caller has gone on.
    deadline = time.monotonic() + 5
    while torch.npu.memory_allocated() != before and time.monotonic() < deadline:
        gc.collect()
        torch.npu.synchronize()
    assert torch.npu.memory_allocated() == before
