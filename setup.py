"""Builds group_norm_grad._C against the installed torch.

Environment switches: GROUP_NORM_GRAD_DEBUG=1 (no optimisation, debug symbols), =address or =thread (debug symbols and
that sanitizer, with UBSan beside ASan; `make sanitize` runs the result); GROUP_NORM_GRAD_NPU=auto|0|1
(the NPU half: when its parts can be built, never, or else fail); GROUP_NORM_GRAD_BUILD_ISA (comma-separated
instruction sets of the CPU kernels, default all that the compiler's target has).
"""

import os
import platform
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# An installed torch_npu must not be loaded, let alone fail to, by a build.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import pybind11
import torch
from setuptools import Extension, setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT.resolve()))
import setup_npu  # noqa: E402

PACKAGE = "group_norm_grad"
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
SANITIZERS = {
    # Without vptr, as torch hides the type information that it compares.
    "address": ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}
DEBUG = os.environ.get("GROUP_NORM_GRAD_DEBUG", "0") == "1"
SANITIZE = SANITIZERS.get(os.environ.get("GROUP_NORM_GRAD_DEBUG", "0"), [])

SOURCES = [
    "csrc/schema.cpp",
    "csrc/checks.cpp",
    "csrc/autograd.cpp",
    "csrc/double_backward.cpp",
    "csrc/meta.cpp",
    "csrc/aten_override.cpp",
    "csrc/module.cpp",
    "csrc/npu/loader.cpp",
    "csrc/cpu/register.cpp",
    "csrc/cpu/describe.cpp",
    "csrc/cpu/entry.cpp",
    "csrc/cpu/forward_entry.cpp",
    "csrc/cpu/plan.cpp",
    "csrc/cpu/dispatch.cpp",
]
# Compiled once for each instruction set: the compiler's flags, and at::vec's name for it.
KERNEL_SOURCE = "csrc/cpu/kernels/table.cpp"
X86_FLAGS = {
    "default": ("DEFAULT", []),
    "avx2": ("AVX2", ["-mavx2", "-mfma", "-mf16c"]),
    "avx512": (
        "AVX512",
        ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma", "-mf16c"],
    ),
}
ARM_FLAGS = {"neon": ("DEFAULT", [])}


def instruction_sets() -> dict[str, tuple[str, list[str]]]:
    """The instruction sets to build, with their flags; the first is the baseline and cannot be left out."""
    arm = platform.machine() in ("aarch64", "arm64")
    known = ARM_FLAGS if arm else X86_FLAGS
    wanted = os.environ.get("GROUP_NORM_GRAD_BUILD_ISA", ",".join(known)).split(",")
    unknown = [isa for isa in wanted if isa not in known]
    if unknown:
        raise SystemExit(
            f"GROUP_NORM_GRAD_BUILD_ISA: expected some of {list(known)}, got {unknown}"
        )
    baseline = next(iter(known))
    return {isa: flags for isa, flags in known.items() if isa in wanted or isa == baseline}


COMMON_FLAGS = [
    "-O0" if DEBUG else "-O1" if SANITIZE else "-O3",
    *(["-g", "-fno-omit-frame-pointer"] if DEBUG or SANITIZE else ["-g0"]),
    *SANITIZE,
    "-fvisibility=hidden",
    "-Wall",
    "-Wno-unknown-pragmas",
    # The sums keep their rounding errors, and every schedule must round alike: no multiply-add but those written.
    "-ffp-contract=off",
]


class Build(BuildExtension):
    """Adds the per-instruction-set kernel objects, and a record of what was built."""

    def build_extensions(self) -> None:
        """Compile the kernels once for each instruction set, then everything else."""
        extension = self.extensions[0]
        includes = [f"-I{path}" for path in extension.include_dirs]
        inputs = [*ROOT.glob("csrc/**/*.h"), ROOT / "kernels" / "problem.h", ROOT / KERNEL_SOURCE]
        newest = max(path.stat().st_mtime for path in [*inputs, Path(__file__)])

        def compile_for(item: tuple[str, tuple[str, list[str]]]) -> str:
            isa, (capability, flags) = item
            output = Path(self.build_temp) / f"isa_{isa}" / "table.o"
            if output.is_file() and output.stat().st_mtime >= newest:
                return str(output)
            output.parent.mkdir(parents=True, exist_ok=True)
            # BuildExtension takes flags per extension, not per source, hence the compiler here.
            command = [
                *shlex.split(os.environ.get("CXX", "g++")),
                *COMMON_FLAGS,
                "-std=c++20",
                "-fPIC",
                *flags,
                f"-DGROUP_NORM_GRAD_ISA={isa}",
                f"-DCPU_CAPABILITY={capability}",
                f"-DCPU_CAPABILITY_{capability}",
                *includes,
            ]
            subprocess.run([*command, "-c", KERNEL_SOURCE, "-o", str(output)], check=True)
            return str(output)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            extension.extra_objects += pool.map(compile_for, instruction_sets().items())
        super().build_extensions()

    def run(self) -> None:
        """Build, then write _build_info.py beside the extension."""
        super().run()
        package = Path(self.get_ext_fullpath(f"{PACKAGE}._C")).parent
        npu_parts = setup_npu.build(package.resolve(), Path(self.build_temp).resolve(), DEBUG)
        target = package / "_build_info.py"
        target.write_text(
            '"""What this build is; written by setup.py."""\n\n'
            f'VERSION = "{VERSION}"\n'
            f'TORCH_VERSION = "{torch.__version__}"\n'
            f"INSTRUCTION_SETS = {tuple(instruction_sets())!r}\n"
            f"NPU_PARTS = {npu_parts!r}\n"
        )


def extensions() -> list[Extension]:
    """The torch extension, and the executor unless the NPU half is left out."""
    isa_macros = [f"-DGROUP_NORM_GRAD_WITH_{isa.upper()}" for isa in instruction_sets()]
    main = CppExtension(
        f"{PACKAGE}._C",
        SOURCES,
        include_dirs=[str(ROOT.resolve()), *torch.utils.cpp_extension.include_paths()],
        # at::parallel_for is a plain loop in code compiled without it; the runtime is the one that
        # torch has loaded, by its name.
        extra_compile_args=[*COMMON_FLAGS, "-fopenmp", *isa_macros],
        extra_link_args=[*SANITIZE, "-fopenmp"],
    )
    if os.environ.get("GROUP_NORM_GRAD_NPU") == "0":
        return [main]
    listed = (ROOT / "kernels" / "executor" / "sources.txt").read_text().split()
    executor = Extension(
        f"{PACKAGE}._executor",
        [*(f"kernels/{source}" for source in listed), "kernels/executor/module.cpp"],
        include_dirs=[
            str((ROOT / "kernels" / "executor" / "include").resolve()),
            pybind11.get_include(),
        ],
        # One rounding an instruction, on every host.
        extra_compile_args=[*COMMON_FLAGS, "-ffp-contract=off", "-pthread"],
        language="c++",
    )
    return [main, executor]


setup(
    packages=[PACKAGE],
    package_data={PACKAGE: ["py.typed", "*.pyi", "opp/**/*"]},
    ext_modules=extensions(),
    cmdclass={"build_ext": Build},
)
