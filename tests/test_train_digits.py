"""The demo: that it succeeds on few images, and that it fails when a gradient is wrong."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import train_digits


def run(out: Path, *options: str) -> int:
    images = ["--images", str(10 * train_digits.BATCH)]
    return train_digits.main(["--epochs", "1", "--quiet", "--out", str(out), *images, *options])


def test_four_ways_stay_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    table = capsys.readouterr().out
    for way in train_digits.WAYS:
        assert way.name in table
    (plot,) = tmp_path.glob("*.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    record = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert len(record["runs"]) == 5 and record["parted"] == []
    for one in record["runs"]:
        assert one["norm_backward_ms_per_step"] > 0 and len(one["step_losses"]) == 10


def test_bfloat16_channels_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, as a CPU without bfloat16 instructions takes seconds for a step of 64 images."""
    for name, value in {"BATCH": 8, "TEST_IMAGES": 8, "PROFILED_STEPS": 1}.items():
        monkeypatch.setattr(train_digits, name, value)
    assert run(tmp_path, "--dtype", "bfloat16", "--channels-last", "--images", "24") == 0
    record = json.loads((tmp_path / "train_digits_bfloat16_channels_last.json").read_text())
    losses = [one["step_losses"] for one in record["runs"]]
    assert all(map(math.isfinite, losses[1])) and losses[1] == losses[2]


class Scaled(torch.autograd.Function):
    """The identity, with a gradient that is off by the factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad * ctx.factor, None


def wrong_weight_gradient(
    input: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> Tensor:
    return F.group_norm(input, groups, Scaled.apply(weight, 2.0), bias, eps)


def wrong_input_gradient(
    input: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> Tensor:
    return F.group_norm(Scaled.apply(input, 1.001), groups, weight, bias, eps)


@pytest.mark.parametrize("wrong", [wrong_weight_gradient, wrong_input_gradient])
def test_a_wrong_gradient_fails(
    wrong: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """grad_weight twice too large, or grad_input off by 1e-3, parts the curves beyond the bound."""
    broken = train_digits.Way("wrong", train_digits.by(wrong))
    monkeypatch.setattr(train_digits, "WAYS", (train_digits.WAYS[0], broken))
    assert run(tmp_path) == 1
    assert "parted from F.group_norm: wrong" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--epochs", "0"], ["--images", "1"], ["--dtype", "float8"]])
def test_options_are_checked(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_digits.main(options)
    assert options[0] in capsys.readouterr().err
