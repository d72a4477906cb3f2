"""The loopback ACL runtime itself: what it must refuse, keep in order, report; each case in a process of its own.

No torch and no kernel here.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.loopback_acl import build
from tests.loopback_acl.environment import VIOLATION_EXIT_CODE, environment

PRELUDE = """
import ctypes, sys, time, threading
from ctypes import byref, c_void_p, c_size_t
from tests.loopback_acl import acl
"""


@pytest.fixture(scope="module")
def libraries():
    return [build.runtime(aten=False)]


@pytest.fixture
def run(libraries):
    """Runs Python code on the loopback runtime; returns (exit code, output)."""

    def start(code: str, **options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
            env=environment(libraries, torch_npu=False, **options),
            cwd=build.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return start


def check(result: tuple[int, str], exit_code: int = 0, *wanted: str) -> None:
    code, output = result
    assert code == exit_code, output
    for text in wanted:
        assert text in output


def test_copies_round_trip(run):
    check(
        run("""
        acl.start()
        data = bytes(range(256)) * 64
        a, b = acl.malloc(len(data)), acl.malloc(len(data))
        acl.upload(a, data)
        acl.copy(b, len(data), a, len(data), acl.DEVICE_TO_DEVICE)
        assert acl.download(b, len(data)) == data
        acl.free(a), acl.free(b)
        acl.call("aclFinalize")
    """)
    )


def test_fresh_memory_is_poisoned(run):
    check(
        run("""
        import struct
        acl.start()
        a = acl.malloc(64)
        assert acl.download(a, 64) == b"\\xff" * 64
        assert struct.unpack("f", acl.download(a, 4))[0] != struct.unpack("f", acl.download(a, 4))[0]
        acl.upload(a, bytes(64)); acl.free(a)
        assert acl.download(acl.malloc(64), 64) == b"\\xff" * 64
    """)
    )


@pytest.mark.parametrize("access", ["ctypes.string_at(a.value, 1)", "ctypes.memset(a.value, 0, 1)"])
def test_host_access_to_device_memory_is_a_segmentation_fault(run, access):
    code, output = run(f"""
        acl.start()
        a = acl.malloc(64)
        print("before", flush=True)
        {access}
        print("after", flush=True)
    """)
    assert code == -11
    assert output == "before\n"


@pytest.mark.parametrize("on", ["None", "acl.stream()"])
@pytest.mark.parametrize(
    ("copy", "text"),
    [
        ("(a, 64, b, 64, acl.HOST_TO_DEVICE)", "device memory was given as host memory"),
        ("(h, 64, g, 64, acl.HOST_TO_DEVICE)", "is not device memory"),
        ("(a, 64, h, 64, acl.DEVICE_TO_HOST)", "is not device memory"),
        ("(h, 64, g, 64, acl.DEVICE_TO_HOST)", "is not device memory"),
        ("(h, 64, b, 64, acl.HOST_TO_HOST)", "device memory was given as host memory"),
        ("(a, 64, h, 64, acl.DEVICE_TO_DEVICE)", "is not device memory"),
        ("(a, 65, b, 65, acl.DEVICE_TO_DEVICE)", "leaves its device allocation"),
        ("(c_void_p(a.value + 1), 64, h, 64, acl.HOST_TO_DEVICE)", "leaves its device allocation"),
        ("(a, 63, h, 64, acl.HOST_TO_DEVICE)", "is more than the destination's 63"),
        ("(dead, 64, h, 64, acl.HOST_TO_DEVICE)", "freed or unallocated"),
        ("(a, 64, h, 64, 99)", "unknown copy kind"),
    ],
)
def test_illegal_copies_are_refused(run, copy, text, on):
    check(
        run(f"""
        acl.start()
        a, b, dead = acl.malloc(64), acl.malloc(64), acl.malloc(64)
        acl.free(dead)
        h, g = (ctypes.c_char * 64)(), (ctypes.c_char * 64)()
        try:
            acl.copy(*{copy}, {on})
        except acl.AclError as error:
            print(error)
        else:
            sys.exit("the copy was accepted")
        assert acl.download(a, 64) == b"\\xff" * 64, "something was written"
    """),
        0,
        text,
    )


def test_a_copy_whose_memory_is_freed_before_its_turn_is_a_violation(run):
    check(
        run("""
        acl.start()
        s, gate = acl.stream(), threading.Event()
        wait = acl.HOST_FUNCTION(lambda _: gate.wait())
        a = acl.malloc(64)
        h = (ctypes.c_char * 64)()
        acl.call("aclrtLaunchHostFunc", s, wait, None)
        acl.copy(a, 64, h, 64, acl.HOST_TO_DEVICE, s)
        acl.free(a)
        gate.set()
        try:
            acl.call("aclrtSynchronizeStream", s)
        except acl.AclError as error:
            print(error)
    """),
        VIOLATION_EXIT_CODE,
        "VIOLATION: copy destination",
        "a task of the stream failed",
    )


def test_a_write_past_the_end_is_found_at_the_free(run):
    check(
        run("""
        acl.start()
        a = acl.malloc(100)
        view = acl.library.LoopbackAclView(a, c_size_t(100))
        ctypes.memset(view + 103, 1, 1)
        try:
            acl.free(a)
        except acl.AclError:
            pass
    """),
        VIOLATION_EXIT_CODE,
        "byte 3 past the end",
    )


@pytest.mark.parametrize("address", ["c_void_p(a.value + 512)", "c_void_p(4096)"])
def test_a_wrong_free_is_a_violation(run, address):
    check(
        run(f"""
        acl.start()
        a = acl.malloc(2048)
        try:
            acl.free({address})
        except acl.AclError:
            sys.exit()
    """),
        VIOLATION_EXIT_CODE,
        "not the start of a live device allocation",
    )


def test_leaks_are_reported_at_finalize(run):
    check(
        run("""
        acl.start()
        acl.malloc(1000); acl.free(acl.malloc(2000))
        assert acl.library.LoopbackAclLiveBytes() == 1000
        acl.call("aclFinalize")
    """),
        0,
        "LEAK: 1 device allocation(s), 1000 bytes",
    )


def test_memory_ends(run):
    check(
        run(
            """
        acl.start()
        a = acl.malloc(900 << 10)
        try:
            acl.malloc(900 << 10)
        except acl.AclError as error:
            print(error)
        acl.free(a)
        acl.free(acl.malloc(900 << 10))
    """,
            LOOPBACK_ACL_MEGABYTES="1",
        ),
        0,
        "out of device memory",
    )


def test_calls_need_initialisation_and_a_device(run):
    check(
        run("""
        for name, arguments in [("aclrtSetDevice", (0,)), ("aclrtMalloc", (byref(c_void_p()), c_size_t(8), 0)),
                                ("aclrtCreateStream", (byref(c_void_p()),)), ("aclrtSynchronizeDevice", ())]:
            try:
                acl.call(name, *arguments)
            except acl.AclError as error:
                print(error)
            else:
                sys.exit(name + " was accepted")
        acl.start()
        def other():
            try:
                acl.malloc(8)
            except acl.AclError as error:
                print("thread:", error)
        t = threading.Thread(target=other); t.start(); t.join()
        try:
            acl.call("aclrtSetDevice", 1)
        except acl.AclError as error:
            print(error)
    """),
        0,
        "before aclInit",
        "thread: aclrtMalloc returned 107002",
        "there is no device 1",
    )


def test_unknown_handles_are_errors(run):
    check(
        run("""
        acl.start()
        s = acl.stream(); acl.call("aclrtDestroyStream", s)
        e = acl.event(); acl.call("aclrtDestroyEvent", e)
        f, t = acl.event(), acl.stream()
        for name, arguments in [("aclrtSynchronizeStream", (s,)), ("aclrtRecordEvent", (f, s)),
                                ("aclrtRecordEvent", (e, t)), ("aclrtStreamWaitEvent", (t, e)),
                                ("aclrtDestroyStream", (s,)), ("aclrtSynchronizeEvent", (e,))]:
            try:
                acl.call(name, *arguments)
            except acl.AclError as error:
                assert "unknown" in str(error), error
            else:
                sys.exit(name + " was accepted")
    """)
    )


FIFO = """
    acl.start()
    log, streams = [[], []], [acl.stream(), acl.stream()]
    functions = []
    for i in range(200):
        for k in (0, 1):
            functions.append(acl.HOST_FUNCTION(lambda _, k=k, i=i: log[k].append((i, time.monotonic()))))
            acl.call("aclrtLaunchHostFunc", streams[k], functions[-1], None)
    acl.call("aclrtSynchronizeDevice")
    for k in (0, 1):
        assert [i for i, _ in log[k]] == list(range(200))
    merged = sorted((t, k) for k in (0, 1) for _, t in log[k])
    print("switches", sum(a[1] != b[1] for a, b in zip(merged, merged[1:])))
"""


def test_a_stream_keeps_its_order(run):
    check(run(FIFO))
    check(run(FIFO, streams="eager"), 0, "switches 399")


def test_eager_streams_run_on_the_calling_thread_and_asynchronous_ones_do_not(run):
    code = """
        acl.start()
        s, seen = acl.stream(), []
        note = acl.HOST_FUNCTION(lambda _: seen.append(threading.get_ident()))
        acl.call("aclrtLaunchHostFunc", s, note, None)
        acl.call("aclrtSynchronizeStream", s)
        print("same thread" if seen == [threading.get_ident()] else "another thread")
    """
    check(run(code, streams="eager"), 0, "same thread")
    check(run(code), 0, "another thread")


RACE = """
    acl.start()
    a, s, t, e = acl.malloc(4), acl.stream(), acl.stream(), acl.event()
    wrong = 0
    for i in range(1, 301):
        h, out = (ctypes.c_int * 1)(i), (ctypes.c_int * 1)()
        acl.copy(a, 4, h, 4, acl.HOST_TO_DEVICE, s)
        acl.call("aclrtRecordEvent", e, s)
        {wait}
        acl.copy(out, 4, a, 4, acl.DEVICE_TO_HOST, t)
        acl.call("aclrtSynchronizeDevice")
        wrong += out[0] != i
    print("wrong", wrong)
"""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_events_order_streams_and_without_them_the_race_shows(run, seed):
    check(run(RACE.format(wait='acl.call("aclrtStreamWaitEvent", t, e)'), seed=seed), 0, "wrong 0")
    code, output = run(RACE.format(wait="pass"), seed=seed)
    assert code == 0, output
    assert int(output.split()[-1]) > 20, output


def test_a_wait_takes_the_records_before_it_only(run):
    check(
        run("""
        acl.start()
        s, t, e, gate = acl.stream(), acl.stream(), acl.event(), threading.Event()
        acl.call("aclrtStreamWaitEvent", t, e)  # never recorded: does not block
        acl.call("aclrtSynchronizeStream", t)
        acl.call("aclrtRecordEvent", e, s)
        acl.call("aclrtStreamWaitEvent", t, e)
        block = acl.HOST_FUNCTION(lambda _: gate.wait())
        acl.call("aclrtLaunchHostFunc", s, block, None)
        acl.call("aclrtRecordEvent", e, s)  # later: must not prolong the wait
        acl.call("aclrtSynchronizeStream", t)
        status = ctypes.c_int(7)
        acl.call("aclrtQueryEventStatus", e, byref(status))
        assert status.value == 0
        gate.set()
        acl.call("aclrtSynchronizeEvent", e)
        acl.call("aclrtQueryEventStatus", e, byref(status))
        assert status.value == 1
    """)
    )


def test_elapsed_time(run):
    check(
        run("""
        acl.start()
        s, first, last = acl.stream(), acl.event(), acl.event()
        nap = acl.HOST_FUNCTION(lambda _: time.sleep(0.02))
        try:
            acl.elapsed_ms(first, last)
        except acl.AclError as error:
            print(error)
        acl.call("aclrtRecordEvent", first, s)
        acl.call("aclrtLaunchHostFunc", s, nap, None)
        acl.call("aclrtRecordEvent", last, s)
        acl.call("aclrtSynchronizeStream", s)
        assert 20 <= acl.elapsed_ms(first, last) < 2000
    """),
        0,
        "107006",
    )


def test_delays_follow_the_seed(run):
    code = """
        acl.start()
        s, t = acl.stream(), acl.stream()
        order = []
        keep = [acl.HOST_FUNCTION(lambda _, k=k: order.append(k)) for k in "st" * 60]
        for i, f in enumerate(keep):
            acl.call("aclrtLaunchHostFunc", (s, t)[i % 2], f, None)
        acl.call("aclrtSynchronizeDevice")
        print("".join(order))
    """
    outputs = {run(code, seed=seed, LOOPBACK_ACL_MAX_DELAY_US="2000")[1] for seed in range(4)}
    assert len(outputs) == 4


def test_soc_name_devices_and_options(run):
    check(
        run(
            """
        acl.library.aclrtGetSocName.restype = ctypes.c_char_p
        print(acl.library.aclrtGetSocName().decode())
        acl.start(1)
        count = ctypes.c_uint32()
        acl.call("aclrtGetDeviceCount", byref(count))
        assert count.value == 2
        assert acl.option("aclrtGetSysParamOpt", 0) == 0 == acl.option("aclrtCtxGetSysParamOpt", 0)
        acl.call("aclrtSetSysParamOpt", 0, ctypes.c_int64(1))
        assert acl.option("aclrtGetSysParamOpt", 0) == 1
        assert acl.option("aclrtCtxGetSysParamOpt", 0) == 0
        a = acl.malloc(8)
        assert acl.library.LoopbackAclDeviceOf(a) == 1
    """,
            soc="Ascend950PR_9589",
            LOOPBACK_ACL_DEVICES="2",
        ),
        0,
        "Ascend950PR_9589",
    )


def test_bad_configuration_stops(run):
    code, output = run("acl.start(); acl.malloc(8)", LOOPBACK_ACL_MEGABYTES="x")
    assert code != 0
    assert "LOOPBACK_ACL_MEGABYTES must be a count, got 'x'" in output


def test_stubs_succeed_or_say_their_name():
    source = build.stub_source(["MsprofReportApi", "aclopCreateAttr", "aclmdlLoadFromFile"])
    assert "MsprofReportApi(void) { return 0; }" in source
    assert "aclopCreateAttr(void) { return &handle; }" in source
    assert "aclmdlLoadFromFile does not exist here" in source
