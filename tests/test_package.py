"""The package as a user meets it: import, command line, build info, and what the source distribution holds."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

import group_norm_grad

ROOT = Path(__file__).resolve().parents[1]


def python(
    *args: str, path: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with this one's package on its path, and `path` in front of everything."""
    package = Path(group_norm_grad.__file__).resolve().parents[1]
    search = [*([str(path)] if path else []), str(package), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, search))},
        cwd=cwd,
        check=False,
    )


def test_import_prints_nothing_and_loads_no_vendor_library() -> None:
    done = python(
        "-W",
        "error",
        "-c",
        "import sys, group_norm_grad; assert 'torch_npu' not in sys.modules; print(group_norm_grad.__version__)",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == group_norm_grad.__version__ and done.stderr == ""


FAKES = {
    "absent": None,
    "present": "__version__ = '9.9'\n",
    "broken": "raise ImportError('libascendcl.so: cannot open shared object file')\n",
    "crashing": "import os\nos.abort()\n",
}


@pytest.mark.parametrize("state", FAKES)
def test_torch_npu_is_never_imported_here(state: str, tmp_path: Path) -> None:
    """Whatever state torch_npu is in, importing our package neither imports it nor fails, and the report says it."""
    source = FAKES[state]
    if source is not None:
        (tmp_path / "torch_npu").mkdir()
        (tmp_path / "torch_npu" / "__init__.py").write_text(source)
    code = (
        "import sys, torch, group_norm_grad\n"
        "group_norm_grad.group_norm(torch.randn(2, 4, 3), 2)\n"
        "assert 'torch_npu' not in sys.modules\n"
    )
    done = python("-c", code, path=tmp_path)
    assert done.returncode == 0, done.stderr
    report = python("-m", "group_norm_grad", path=tmp_path)
    assert report.returncode == 0, report.stderr
    (line,) = [line for line in report.stdout.splitlines() if line.startswith("torch_npu")]
    said = {
        "absent": "not installed",
        "present": "importable, version 9.9",
        "broken": "libascendcl.so: cannot open shared object file",
        "crashing": "installed but not importable",
    }[state]
    assert said in line


def test_the_report() -> None:
    """Version, torch, instruction set and which kernel runs where, in plain lines."""
    done = python("-m", "group_norm_grad")
    assert done.returncode == 0, done.stderr
    for word in (
        group_norm_grad.__version__,
        torch.__version__,
        "instruction set",
        "cpu",
        "torch_npu",
    ):
        assert word in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As in `python -m group_norm_grad | head -1`: the pipe is closed before the report is written."""
    command = [sys.executable, "-m", "group_norm_grad"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b"" and process.returncode == 0


def test_another_torch_is_named_and_refused() -> None:
    """Imported under a torch that it was not built against: an ImportError with both versions."""
    code = (
        "import torch\n"
        "built = torch.__version__\n"
        "torch.__version__ = '1.2.3'\n"
        "try:\n"
        "    import group_norm_grad\n"
        "except ImportError as error:\n"
        "    assert '1.2.3' in str(error) and built.split('+')[0] in str(error), error\n"
        "    print('refused')\n"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "refused", done.stdout + done.stderr


def test_public_names() -> None:
    for name in group_norm_grad.__all__:
        assert getattr(group_norm_grad, name).__doc__, f"{name} has no docstring"
    assert {
        "group_norm",
        "GroupNorm",
        "GroupNormFunction",
        "convert_group_norm",
        "enable",
        "disable",
        "enabled",
    } <= set(group_norm_grad.__all__)
    assert (Path(group_norm_grad.__file__).parent / "py.typed").exists()


def test_installed_version_is_the_packages() -> None:
    try:
        installed = importlib.metadata.version("group_norm_grad")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert installed == group_norm_grad.__version__


def test_operators_are_registered_with_their_schemas() -> None:
    ops = torch.ops.group_norm_grad
    assert str(ops.group_norm.default._schema) == (
        "group_norm_grad::group_norm(Tensor input, int num_groups, Tensor? weight=None, "
        "Tensor? bias=None, float eps=1.0000000000000001e-05) -> Tensor"
    )
    assert str(ops.group_norm_forward.default._schema) == (
        "group_norm_grad::group_norm_forward(Tensor input, Tensor? weight, Tensor? bias, SymInt N, "
        "SymInt C, SymInt HxW, int group, float eps) -> (Tensor, Tensor, Tensor)"
    )
    ours, atens = (
        str(op._schema).split("(", 1)[1]
        for op in (
            ops.group_norm_backward.default,
            torch.ops.aten.native_group_norm_backward.default,
        )
    )
    assert ours == atens


def test_source_distribution_holds_every_source(tmp_path: Path) -> None:
    """Everything that a build reads, and nothing that a build makes."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("not a source tree")
    done = python(
        "setup.py",
        "-q",
        "egg_info",
        "--egg-base",
        str(tmp_path),
        "sdist",
        "--dist-dir",
        str(tmp_path),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    suffixes = {".cpp", ".h", ".py", ".pyi"}
    wanted = {
        str(path.relative_to(ROOT))
        for room in ("csrc", "kernels", "group_norm_grad")
        for path in (ROOT / room).rglob("*")
        if path.suffix in suffixes and not {"__pycache__", "opp"} & set(path.parts)
    }
    wanted |= {"setup.py", "pyproject.toml", "README.md", "LICENSE"}
    assert not wanted - held, f"missing from the sdist: {sorted(wanted - held)}"
    made = {name for name in held if name.endswith((".so", ".o", ".pyc"))}
    assert not made, made
