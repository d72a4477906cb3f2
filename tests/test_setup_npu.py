"""What setup.py finds, builds and says of the NPU half; the toolkit's compiler is a stand-in, CMake and device.cmake are real."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

import setup_npu

# As the toolkit's own: the configuration of find_package(ASC), and the rules of the language.
ASC_CONFIG = 'list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}/asc_modules")\n'
ASC_MODULES = {
    "CMakeDetermineASCCompiler.cmake": """
set(CMAKE_ASC_COMPILER_ENV_VAR ASC)
find_program(CMAKE_ASC_COMPILER bisheng PATHS "$ENV{ASCEND_HOME_PATH}/bin" REQUIRED NO_DEFAULT_PATH)
file(WRITE "${CMAKE_PLATFORM_INFO_DIR}/CMakeASCCompiler.cmake" "set(CMAKE_ASC_COMPILER ${CMAKE_ASC_COMPILER})
set(CMAKE_ASC_SOURCE_FILE_EXTENSIONS asc)
set(CMAKE_ASC_COMPILER_ENV_VAR ASC)
")
""",
    "CMakeTestASCCompiler.cmake": "set(CMAKE_ASC_COMPILER_WORKS 1)\n",
    "CMakeASCInformation.cmake": """
include(CMakeCommonLanguageInclude)
set(CMAKE_INCLUDE_FLAG_ASC -I)
set(CMAKE_ASC_OUTPUT_EXTENSION .o)
set(CMAKE_ASC_COMPILE_OBJECT "<CMAKE_ASC_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -o <OBJECT> -c <SOURCE>")
set(CMAKE_ASC_CREATE_SHARED_LIBRARY "<CMAKE_ASC_COMPILER> -shared <OBJECTS> -o <TARGET>")
set(CMAKE_ASC_INFORMATION_LOADED 1)
""",
}
# Compiles no Ascend C: an object that tells the identity and the architecture that it was asked for.
BISHENG = f"""#!{sys.executable}
import subprocess, sys
own = [word for word in sys.argv[1:] if not word.startswith(("--npu-arch", "-I", "-std"))]
if "-c" in own:
    (arch,) = {{word for word in sys.argv if word.startswith("--npu-arch")}}
    source = own.pop()
    assert source.endswith("kernels/op_host/device_launch.cpp"), source
    own += ["-x", "c", "-", f'-DARCH="{{arch}}"']
subprocess.run(["gcc", *own], check=True, text=True, input=\'\'\'
const char* GroupNormGradKernelId(void) {{ return GROUP_NORM_GRAD_KERNEL_ID; }}
const char* Arch(void) {{ return ARCH; }}
\'\'\')
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to build, with the two host libraries left out: every build makes them, and every other test uses them."""
    monkeypatch.setattr(setup_npu, "build_c_api", lambda *_: None)
    monkeypatch.setattr(setup_npu, "build_torch_binding", lambda *_: None)
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    monkeypatch.delenv("GROUP_NORM_GRAD_NPU", raising=False)
    return tmp_path / "package"


@pytest.fixture
def torch_npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed torch_npu, as far as a build looks."""
    directory = tmp_path / "site" / "torch_npu"
    directory.mkdir(parents=True)
    (directory / "__init__.py").write_text("raise ImportError('a build must not import it')\n")
    monkeypatch.syspath_prepend(directory.parent)
    return directory


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolkit that compiles nothing yet: the headers alone."""
    directory = tmp_path / "cann"
    (directory / "include" / "acl").mkdir(parents=True)
    (directory / "include" / "acl" / "acl.h").touch()
    monkeypatch.setenv("ASCEND_HOME_PATH", str(directory))
    return directory


def add_compiler(toolkit: Path) -> None:
    """CANN 8.5 and later, as find_package(ASC) meets it."""
    modules = toolkit / "lib64" / "cmake" / "asc_modules"
    modules.mkdir(parents=True)
    (modules.parent / "asc-config.cmake").write_text(ASC_CONFIG)
    for name, text in ASC_MODULES.items():
        (modules / name).write_text(text)
    compiler = toolkit / "bin" / "bisheng"
    compiler.parent.mkdir()
    compiler.write_text(BISHENG)
    compiler.chmod(0o755)


def said(capfd: pytest.CaptureFixture[str]) -> list[str]:
    output = capfd.readouterr().out.splitlines()
    return [line for line in output if line.startswith("NPU half: ")]


def test_without_anything(package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert setup_npu.build(package, package / "scratch", debug=False) == ()
    assert said(capfd) == [
        "NPU half: torch_npu not installed; CANN toolkit not found by ASCEND_HOME_PATH (it is not set)",
        "NPU half: built nothing",
        "NPU half: NOT built C API: it needs torch_npu or a CANN toolkit",
        "NPU half: NOT built PrivateUse1: it needs torch_npu",
        "NPU half: NOT built device binary dav-2201: it needs a CANN toolkit",
        "NPU half: NOT built device binary dav-3510: it needs a CANN toolkit",
    ]


def test_with_torch_npu_alone(
    package: Path,
    torch_npu: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", "/nowhere")
    built = setup_npu.build(package, package / "scratch", debug=False)
    assert built == ("C API", "PrivateUse1")
    lines = said(capfd)
    assert lines[0] == (
        f"NPU half: torch_npu {torch_npu}; CANN toolkit not found by ASCEND_HOME_PATH "
        "(/nowhere has no include/acl/acl.h)"
    )
    assert lines[1] == "NPU half: built C API, PrivateUse1"
    assert [line.split(":")[1] for line in lines[2:]] == [
        " NOT built device binary dav-2201",
        " NOT built device binary dav-3510",
    ]


def test_with_both(
    package: Path, torch_npu: Path, toolkit: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The device binaries are where the host side looks for them, and of the identity that it asks for."""
    add_compiler(toolkit)
    built = setup_npu.build(package, package / "scratch", debug=False)
    assert built == ("C API", "PrivateUse1", "device binary dav-2201", "device binary dav-3510")
    assert said(capfd)[0] == f"NPU half: torch_npu {torch_npu}; CANN toolkit {toolkit}"
    for arch in ("2201", "3510"):
        name = f"libgroup_norm_grad_kernel_{arch}.so"
        library = ctypes.CDLL(str(package / setup_npu.LIBRARY_DIR / name))
        library.GroupNormGradKernelId.restype = library.Arch.restype = ctypes.c_char_p
        assert library.GroupNormGradKernelId().decode() == setup_npu.kernel_id()
        assert library.Arch().decode() == f"--npu-arch=dav-{arch}"


@pytest.mark.parametrize("wanted", ["auto", "1"])
def test_a_toolkit_without_a_compiler(
    package: Path,
    toolkit: Path,
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GROUP_NORM_GRAD_NPU", wanted)
    if wanted == "1":
        with pytest.raises(SystemExit, match="GROUP_NORM_GRAD_NPU=1, but not built: PrivateUse1"):
            setup_npu.build(package, package / "scratch", debug=False)
    else:
        assert setup_npu.build(package, package / "scratch", debug=False) == ("C API",)
    output = capfd.readouterr()
    assert "No CANN toolkit that compiles Ascend C was found" in output.err
    assert "NPU half: NOT built device binary dav-2201: cmake failed" in output.out
