"""Builds the loopback runtime with g++ into a cache, one directory per set of sources and flags. Runs no test."""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from setup_npu import kernel_id_flag

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("LOOPBACK_ACL_CACHE", ROOT / "build" / "loopback_acl"))
TORCH_NPU_VERSION = "2.13.0"
TORCH_NPU_SITE = Path(
    os.environ.get("LOOPBACK_ACL_TORCH_NPU", ROOT / "build" / f"torch_npu-{TORCH_NPU_VERSION}")
)

# Libraries that libtorch_npu and its Python module are linked to, besides those built from sources here.
STUB_LIBRARIES = ("libhccl.so", "libge_runner.so", "libgraph.so", "libacl_tdt_channel.so")
# Called at load or on the way to aclopCompileAndExecute, and of no meaning without a device: these succeed. Everything else
# that is not implemented fails and says its name.
HARMLESS = re.compile(
    r"Msprof\w+|rt\w+Register|aclop(Create|Destroy|Set)\w+|acl(Create|Destroy)(DataBuffer|TensorDesc)|"
    r"aclSetTensor\w+|aclmdl(Init|Finalize|Set)Dump|aclGetTensorDesc\w+"
)
# What an executable or library may leave undefined because every process has it.
EVERYWHERE = re.compile(r"_|Py|GOMP_|omp_")


def torch_npu_dir() -> Path:
    """The unpacked torch_npu wheel; raises with the command that gets it when it is not there."""
    directory = TORCH_NPU_SITE / "torch_npu"
    if not directory.is_dir():
        raise RuntimeError(
            f"torch_npu {TORCH_NPU_VERSION} is not in {TORCH_NPU_SITE}: run "
            f"'{sys.executable} -m tests.loopback_acl.build' to fetch it"
        )
    return directory


def fetch_torch_npu() -> None:
    """Installs the wheel outside every import path, unless it is there."""
    if (TORCH_NPU_SITE / "torch_npu").is_dir():
        return
    TORCH_NPU_SITE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TORCH_NPU_SITE.parent) as scratch:
        wanted = f"torch_npu=={TORCH_NPU_VERSION}"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                scratch,
                wanted,
            ],
            check=True,
        )
        shutil.copytree(scratch, TORCH_NPU_SITE)


def acl_include_dirs() -> list[Path]:
    """The real ACL headers, from the wheel."""
    inc = torch_npu_dir() / "include" / "third_party" / "acl" / "inc"
    return [inc, inc / "acl"]


def torch_dir() -> Path:
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None, "torch is not installed"
    return Path(spec.origin).parent


def _symbols(library: Path, *options: str) -> set[str]:
    out = subprocess.run(
        ["nm", "-D", *options, str(library)], check=True, capture_output=True, text=True
    ).stdout
    names = (line.split()[-1] for line in out.splitlines() if " w " not in line)
    return {name.split("@")[0] for name in names}


def missing_symbols(provided: Iterable[Path]) -> list[str]:
    """C symbols that torch_npu needs at load and that neither torch, the system nor the given libraries have."""
    package = torch_npu_dir()
    users = [*package.glob("_C*.so"), *(package / "lib").glob("lib*.so")]
    users = [library for library in users if "atb" not in library.name]
    needed: set[str] = set().union(*(_symbols(library, "--undefined-only") for library in users))
    have = [*users, *provided, *(torch_dir() / "lib").glob("*.so*")]
    listing = subprocess.run(
        ["ldd", str(torch_dir() / "lib" / "libtorch_cpu.so")], check=True, capture_output=True
    )
    have += [Path(path) for path in re.findall(r"=> (/\S+)", listing.stdout.decode())]
    for library in have:
        needed -= _symbols(library, "--defined-only")
    return sorted(name for name in needed if not EVERYWHERE.match(name))


def stub_source(symbols: Iterable[str]) -> str:
    """C source that defines each symbol: success for the harmless ones, a named failure for the others."""
    lines = ["#include <stdio.h>", "static long handle;"]
    for name in symbols:
        if HARMLESS.fullmatch(name):
            result = "&handle" if "Create" in name else "0"
            lines.append(f"void* {name}(void) {{ return {result}; }}")
        else:
            lines.append(
                f'int {name}(void) {{ fprintf(stderr, "loopback_acl: {name} does not exist here\\n"); return 200006; }}'
            )
    return "\n".join(lines) + "\n"


def compile_and_link(
    output: Path,
    sources: Sequence[Path],
    flags: Sequence[str] = (),
    link: Sequence[str] = (),
    shared: bool = True,
) -> None:
    """One library or program; objects are compiled two at a time."""
    compiler = os.environ.get("CXX", "g++").split()
    objects = output.parent / (output.name + ".objects")
    objects.mkdir()

    def build(source: Path) -> Path:
        target = objects / (source.stem + ".o")
        command = [
            *compiler,
            "-std=c++17",
            "-O1",
            "-g1",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-pthread",
            *flags,
        ]
        if source.suffix == ".c":
            command = ["gcc", "-O1", "-fPIC"]
        subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
        return target

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        built = [str(path) for path in pool.map(build, sources)]
    kind = ["-shared", f"-Wl,-soname,{output.name}"] if shared else []
    sanitize = [flag for flag in flags if flag.startswith("-fsanitize")]
    subprocess.run(
        [*compiler, *kind, *sanitize, "-pthread", *built, "-o", str(output), *link], check=True
    )
    shutil.rmtree(objects)


def cached(name: str, inputs: Iterable[Path], flags: Sequence[str], make) -> Path:
    """The directory that make(directory) filled, made anew when a source, a flag or this file changed."""
    digest = hashlib.sha256(
        repr((name, tuple(flags), str(torch_dir()), str(torch_npu_dir()))).encode()
    )
    for path in sorted({*inputs, Path(__file__)}):
        digest.update(path.name.encode() + path.read_bytes())
    directory = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    if directory.is_dir():
        return directory
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{directory.name}.lock", "w") as lock:
        fcntl.flock(
            lock, fcntl.LOCK_EX
        )  # one builds, the other workers of the test run wait for it
        if directory.is_dir():
            return directory
        scratch = Path(tempfile.mkdtemp(dir=CACHE))
        scratch.chmod(0o755)
        try:
            make(scratch)
            scratch.rename(directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return directory


def runtime(sanitizer: str | None = None, aten: bool = True) -> Path:
    """The directory of the loopback libraries, to be put on LD_LIBRARY_PATH.

    With aten, libopapi.so holds the support operators over ATen and the stubs for torch_npu are there; without, it is the
    torch-free copy alone, for C programs.
    """
    flags = [
        f"-I{path}" for path in [*acl_include_dirs(), HERE, ROOT / "kernels" / "op_api" / "include"]
    ]
    if sanitizer:
        flags += [f"-fsanitize={sanitizer}"]
    acl = [
        HERE / f"{name}.cpp"
        for name in ("acl_device", "acl_memory", "acl_streams", "memory", "runtime", "stream")
    ]
    base = [HERE / "nnopbase.cpp", HERE / "executors.cpp"]
    operators = HERE / ("opapi_aten.cpp" if aten else "opapi_copy.cpp")
    builtin = HERE / "opapi_builtin.cpp"
    compiler = HERE / "acl_op_compiler.cpp"
    headers = [*HERE.glob("*.h"), *(ROOT / "kernels" / "op_api" / "include").rglob("*.h")]

    def make(directory: Path) -> None:
        here = [f"-L{directory}", "-lascendcl"]
        compile_and_link(directory / "libascendcl.so", acl, flags)
        compile_and_link(directory / "libnnopbase.so", base, flags, here)
        torch_flags, torch_link = [], []
        if aten:
            include = torch_dir() / "include"
            torch_flags = ["-std=c++20", "-isystem", str(include)]
            torch_link = [f"-L{torch_dir() / 'lib'}", "-ltorch_cpu", "-lc10"]
        compile_and_link(
            directory / "libopapi.so",
            [operators],
            [*flags, *torch_flags],
            [*here, "-lnnopbase", *torch_link],
        )
        if aten:
            (directory / "builtin").mkdir()
            compile_and_link(
                directory / "builtin" / "libopapi_nn.so",
                [builtin],
                [*flags, *torch_flags],
                [*here, "-lnnopbase", *torch_link],
            )
            compile_and_link(directory / "libacl_op_compiler.so", [compiler], flags, here)
            stubs = directory / "stubs.c"
            stubs.write_text(stub_source(missing_symbols(directory.glob("*.so"))))
            empty = directory / "empty.c"
            empty.write_text("")
            for library in STUB_LIBRARIES:
                source = stubs if library == "libge_runner.so" else empty
                compile_and_link(directory / library, [source])

    inputs = [*acl, *base, operators, builtin, compiler, *headers]
    return cached("aten" if aten else "plain", inputs, flags, make)


def kernel(libraries: Path, sanitizer: str | None = None) -> Path:
    """The directory of the kernel libraries that run on the executor, for GROUP_NORM_GRAD_KERNEL_DIR."""
    kernels = ROOT / "kernels"
    listed = (kernels / "executor" / "sources.txt").read_text().split()
    listed = [name for name in listed if name.startswith("executor/")]  # the plan is the caller's
    sources = [kernels / name for name in listed] + [HERE / "kernel_on_executor.cpp"]
    includes = [*acl_include_dirs(), HERE, ROOT, kernels / "executor" / "include"]
    flags = [f"-I{path}" for path in includes]
    optimise = "-O1" if sanitizer else "-O2"  # sanitized code compiles slowly
    flags += [
        "-std=c++20",
        optimise,
        kernel_id_flag(),
        "-ffp-contract=off",
        "-fvisibility=hidden",
        "-Wno-restrict",
    ]
    if sanitizer:
        flags += [f"-fsanitize={sanitizer}"]

    def make(directory: Path) -> None:
        name = "libgroup_norm_grad_kernel_2201.so"
        compile_and_link(
            directory / name, sources, flags, [f"-L{libraries}", "-lascendcl", "-Wl,--no-undefined"]
        )
        (directory / "libgroup_norm_grad_kernel_3510.so").symlink_to(name)

    rooms = [kernels / name for name in ("executor", "op_kernel", "op_host")]
    inputs = [path for room in rooms for suffix in ("*.h", "*.cpp") for path in room.rglob(suffix)]
    inputs.append(kernels / "problem.h")
    return cached("kernel", [*inputs, *sources, *HERE.glob("*.h")], flags, make)


if __name__ == "__main__":
    fetch_torch_npu()
    if "--fetch" not in sys.argv:
        print(runtime())
