"""The NPU half of the build, for setup.py: what is there to build with, and the libraries under group_norm_grad/opp.

Without torch_npu and without a CANN toolkit nothing is built. With the ACL headers of either, the C API; with torch_npu,
the PrivateUse1 kernels too; with a toolkit (ASCEND_HOME_PATH), the device binary. Nothing here is imported at run time.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent

ARCHITECTURES = ("dav-2201", "dav-3510")  # Atlas A2 and A3, Ascend 950
DEVICE_SOURCE = "device_launch.cpp"  # needs the toolkit's compiler
LIBRARY_DIR = Path("opp", "op_api", "lib")
INCLUDE_DIR = Path("opp", "op_api", "include")


def host_sources() -> list[Path]:
    """The torch-free host side of the kernel: plan, routing, launch."""
    sources = (ROOT / "kernels" / "op_host").glob("*.cpp")
    return sorted(path for path in sources if path.name != DEVICE_SOURCE)


def c_api_sources() -> list[Path]:
    """Everything in libcust_opapi.so."""
    return sorted((ROOT / "kernels" / "op_api").glob("*.cpp")) + host_sources()


def torch_binding_sources() -> list[Path]:
    """Everything in libgroup_norm_grad_npu.so."""
    own = [ROOT / "csrc" / name for name in ("npu/entry.cpp", "npu/composite.cpp", "checks.cpp")]
    return own + host_sources()


def kernel_id() -> str:
    """A digest of the kernel's sources, by which the host side knows the device binary that belongs to it."""
    room = ROOT / "kernels" / "op_kernel"
    sources = sorted([*room.glob("*.h"), *room.glob("*.cpp")])
    digests = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in sources)
    return hashlib.sha256(digests.encode()).hexdigest()


def kernel_id_flag() -> str:
    """The compiler's flag for it, without a shell."""
    return f'-DGROUP_NORM_GRAD_KERNEL_ID="{kernel_id()}"'


class Tools(NamedTuple):
    """What was found to build with."""

    torch_npu: Path | None  # the package's directory
    toolkit: Path | None  # ASCEND_HOME_PATH, when it holds the ACL headers

    def acl_include_dirs(self) -> list[Path]:
        """The directories of acl/acl.h and, from a toolkit, of the aclnn headers."""
        if self.toolkit:
            return [self.toolkit / "include"]
        assert self.torch_npu
        inc = self.torch_npu / "include" / "third_party" / "acl" / "inc"
        return [inc, inc / "acl"]

    def describe(self) -> str:
        """Both places, or why there is none."""
        home = os.environ.get("ASCEND_HOME_PATH")
        why_not = f"{home} has no include/acl/acl.h" if home else "it is not set"
        toolkit = self.toolkit or f"not found by ASCEND_HOME_PATH ({why_not})"
        return f"torch_npu {self.torch_npu or 'not installed'}; CANN toolkit {toolkit}"


def find_tools() -> Tools:
    """Looks for torch_npu without importing it, and for a toolkit."""
    spec = importlib.util.find_spec("torch_npu")
    torch_npu = Path(spec.origin).parent if spec and spec.origin else None
    home = os.environ.get("ASCEND_HOME_PATH")
    toolkit = Path(home) if home and (Path(home) / "include" / "acl" / "acl.h").is_file() else None
    return Tools(torch_npu, toolkit)


class Builder:
    """Compiles shared libraries; leaves alone those that are newer than everything they are made of."""

    def __init__(self, package: Path, scratch: Path, debug: bool) -> None:
        self.package = package
        self.scratch = scratch
        self.compiler = shlex.split(os.environ.get("CXX", "g++"))
        optimise = ["-O0", "-g"] if debug else ["-O2"]
        self.flags = [*optimise, "-fPIC", "-fvisibility=hidden", "-Wall", "-pthread"]
        self.flags += [f"-I{ROOT}", kernel_id_flag()]

    def library(
        self, name: str, sources: Sequence[Path], flags: Sequence[str], link: Sequence[str]
    ) -> None:
        """Build opp/op_api/lib/<name>."""
        output = self.package / LIBRARY_DIR / name
        headers = [*(ROOT / "csrc").rglob("*.h"), *(ROOT / "kernels").rglob("*.h")]
        inputs = [*sources, *headers, *(ROOT / "kernels" / "op_kernel").glob("*.cpp")]
        newest = max(path.stat().st_mtime for path in [*inputs, Path(__file__)])
        if output.is_file() and output.stat().st_mtime >= newest:
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        objects = self.scratch / f"{name}.objects"
        objects.mkdir(parents=True, exist_ok=True)

        def build(source: Path) -> str:
            target = objects / "_".join(source.relative_to(ROOT).with_suffix(".o").parts)
            command = [*self.compiler, *self.flags, *flags, "-c", str(source), "-o", str(target)]
            subprocess.run(command, check=True)
            return str(target)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            built = list(pool.map(build, sources))
        soname = ["-shared", f"-Wl,-soname,{name}"]
        subprocess.run(
            [*self.compiler, *soname, *built, "-o", str(output), *link, "-ldl", "-pthread"],
            check=True,
        )


def build_c_api(builder: Builder, tools: Tools) -> None:
    """libcust_opapi.so and its public headers."""
    include = ROOT / "kernels" / "op_api" / "include"
    flags = ["-std=c++17", f"-I{include}", *(f"-I{path}" for path in tools.acl_include_dirs())]
    builder.library("libcust_opapi.so", c_api_sources(), flags, [])
    target = builder.package / INCLUDE_DIR
    shutil.copytree(include, target, dirs_exist_ok=True)


def build_torch_binding(builder: Builder, torch_npu: Path) -> None:
    """libgroup_norm_grad_npu.so: linked to torch_npu, which needs no CANN at build time."""
    import torch
    from torch.utils import cpp_extension

    include = torch_npu / "include"
    third_party = [
        include / "third_party" / "acl" / "inc",
        include / "third_party" / "hccl" / "inc",
    ]
    paths = [*cpp_extension.include_paths(), include, *third_party]
    flags = ["-std=c++20", *(word for path in paths for word in ("-isystem", str(path)))]
    libraries = [Path(torch.__file__).parent / "lib", torch_npu / "lib"]
    link = [f"-L{path}" for path in libraries] + ["-ltorch_npu", "-ltorch_cpu", "-lc10"]
    # What torch_npu is linked to is CANN, which need not be here.
    link += ["-Wl,--allow-shlib-undefined"]
    builder.library("libgroup_norm_grad_npu.so", torch_binding_sources(), flags, link)


def build_device_binary(builder: Builder, toolkit: Path, arch: str) -> str:
    """libgroup_norm_grad_kernel_<arch>.so by the toolkit's compiler; returns why it was not built, or nothing."""
    work = builder.scratch / "device" / arch
    configure = ["cmake", "-S", str(ROOT / "kernels"), "-B", str(work)]
    configure += [
        "-DGROUP_NORM_GRAD_DEVICE=ON",
        f"-DCMAKE_ASC_ARCHITECTURES={arch}",
        f"-DASCEND_HOME_PATH={toolkit}",
        f"-DCMAKE_INSTALL_PREFIX={builder.package / LIBRARY_DIR}",
    ]
    try:
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(work), "--target", "install"], check=True)
    except FileNotFoundError:
        return "cmake is not installed"
    except subprocess.CalledProcessError:
        return "cmake failed, as it says above"
    return ""


def build(package: Path, scratch: Path, debug: bool) -> tuple[str, ...]:
    """Build what GROUP_NORM_GRAD_NPU and the machine allow into the package; returns the parts built."""
    wanted = os.environ.get("GROUP_NORM_GRAD_NPU", "auto")
    if wanted not in ("auto", "0", "1"):
        raise SystemExit(f"GROUP_NORM_GRAD_NPU: expected auto, 0 or 1, got {wanted!r}")
    if wanted == "0":
        return ()
    tools = find_tools()
    print(f"NPU half: {tools.describe()}", flush=True)
    builder = Builder(package, scratch, debug)
    built, missing = [], []
    if tools.torch_npu or tools.toolkit:
        build_c_api(builder, tools)
        built.append("C API")
    else:
        missing.append("C API: it needs torch_npu or a CANN toolkit")
    if tools.torch_npu:
        build_torch_binding(builder, tools.torch_npu)
        built.append("PrivateUse1")
    else:
        missing.append("PrivateUse1: it needs torch_npu")
    for arch in ARCHITECTURES:
        part, why_not = f"device binary {arch}", "it needs a CANN toolkit"
        if tools.toolkit:
            why_not = build_device_binary(builder, tools.toolkit, arch)
        if why_not:
            missing.append(f"{part}: {why_not}")
        else:
            built.append(part)
    print(f"NPU half: built {', '.join(built) or 'nothing'}")
    for part in missing:
        print(f"NPU half: NOT built {part}")
    if wanted == "1" and missing:
        raise SystemExit(f"GROUP_NORM_GRAD_NPU=1, but not built: {'; '.join(missing)}")
    return tuple(built)
