"""What runs where in this process, and why. Never imports torch_npu into the process that asks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import NamedTuple

import torch

from . import _C, _build_info, override


class Row(NamedTuple):
    """One line of the report: what is asked, and the answer."""

    name: str
    value: str


def torch_npu_status() -> str:
    """Whether torch_npu can be imported, or why not.

    It is tried in a process of its own: where CANN is absent torch_npu fails half-way through its
    import and leaves torch unusable.
    """
    if "torch_npu" in sys.modules:
        return f"imported, version {getattr(sys.modules['torch_npu'], '__version__', 'unknown')}"
    if importlib.util.find_spec("torch_npu") is None:
        return "not installed"
    tried = subprocess.run(
        [sys.executable, "-c", "import torch, torch_npu; print(torch_npu.__version__)"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if tried.returncode == 0:
        return f"importable, version {tried.stdout.strip()}"
    lines = [line for line in tried.stderr.splitlines() if line.strip()]
    return f"installed but not importable: {lines[-1] if lines else f'exit {tried.returncode}'}"


def report() -> list[Row]:
    """The build, the environment, and the kernel of each operator and device, in print order."""
    isa = _C.isa_in_use()
    swapped = override.is_enabled()
    return [
        Row("group_norm_grad", _build_info.VERSION),
        Row("torch", f"{torch.__version__} (built against {_build_info.TORCH_VERSION})"),
        Row("instruction set", f"{isa} (built: {', '.join(_build_info.INSTRUCTION_SETS)})"),
        Row("torch_npu", torch_npu_status()),
        Row("backward on cpu", f"our kernel ({isa}), {torch.get_num_threads()} threads"),
        Row("backward on npu", _C.describe_npu()),
        Row("NPU parts built", ", ".join(_build_info.NPU_PARTS) or "none"),
        Row("forward on cpu", f"our kernel ({isa}), statistics in float32 for 16-bit input"),
        Row(
            "F.group_norm's backward on cpu",
            "our kernel" if swapped else "ATen's kernel (enable() swaps it)",
        ),
    ]
