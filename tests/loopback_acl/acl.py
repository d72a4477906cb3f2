"""The ACL of the loopback runtime for Python tests, through ctypes. Every call that fails raises AclError."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char, c_float, c_int, c_int64, c_size_t, c_void_p
from typing import Any

HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = range(4)
HOST_FUNCTION = ctypes.CFUNCTYPE(None, c_void_p)

library = ctypes.CDLL("libascendcl.so")
for _name in (
    "LoopbackAclLiveAllocations",
    "LoopbackAclLiveBytes",
    "LoopbackAclViolations",
    "LoopbackAclTasksRun",
):
    getattr(library, _name).restype = ctypes.c_uint64
library.LoopbackAclView.restype = c_void_p
library.aclGetRecentErrMsg.restype = ctypes.c_char_p


class AclError(RuntimeError):
    """A call that returned another code than 0; the text is aclGetRecentErrMsg's."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} returned {code}: {library.aclGetRecentErrMsg().decode()}")
        self.code = code


def call(name: str, *arguments: Any) -> None:
    code = getattr(library, name)(*arguments)
    if code != 0:
        raise AclError(name, code)


def start(device: int = 0) -> None:
    call("aclInit", None)
    call("aclrtSetDevice", device)


def malloc(size: int) -> c_void_p:
    address = c_void_p()
    call("aclrtMalloc", byref(address), c_size_t(size), 0)
    return address


def free(address: c_void_p) -> None:
    call("aclrtFree", address)


def stream() -> c_void_p:
    handle = c_void_p()
    call("aclrtCreateStream", byref(handle))
    return handle


def event() -> c_void_p:
    handle = c_void_p()
    call("aclrtCreateEventExWithFlag", byref(handle), 0)
    return handle


def upload(address: c_void_p, data: bytes, on: c_void_p | None = None) -> None:
    copy(address, len(data), data, len(data), HOST_TO_DEVICE, on)


def download(address: c_void_p | int, size: int) -> bytes:
    buffer = (c_char * size)()
    copy(buffer, size, address, size, DEVICE_TO_HOST)
    return buffer.raw


def copy(to: Any, room: int, source: Any, size: int, kind: int, on: c_void_p | None = None) -> None:
    """At once, or on a stream."""
    if on is None:
        call("aclrtMemcpy", to, c_size_t(room), source, c_size_t(size), kind)
    else:
        call("aclrtMemcpyAsync", to, c_size_t(room), source, c_size_t(size), kind, on)


def elapsed_ms(first: c_void_p, last: c_void_p) -> float:
    value = c_float()
    call("aclrtEventElapsedTime", byref(value), first, last)
    return value.value


def option(name: str, opt: int) -> int:
    value = c_int64(-1)
    call(name, c_int(opt), byref(value))
    return value.value
