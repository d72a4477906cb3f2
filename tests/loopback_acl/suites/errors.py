"""What must be refused on npu tensors, and that refusing leaves the process well; on the loopback device, with two devices."""

from __future__ import annotations

import os

import pytest
import reference
import torch
import torch.nn.functional as F
from cases import F16, F32, F64
from conftest import kernel_calls

import group_norm_grad

backward = torch.ops.group_norm_grad.group_norm_backward


def arguments(device: str = "npu", dtype: torch.dtype = F32) -> dict[str, object]:
    torch.manual_seed(1)
    x, dy = torch.randn(2, 6, 5, dtype=dtype), torch.randn(2, 6, 5, dtype=dtype)
    mean, rstd = reference.statistics(x, 3, 1e-5, F32)
    weight = torch.rand(6, dtype=dtype) + 0.5
    tensors = {"grad_out": dy, "input": x, "mean": mean, "rstd": rstd, "weight": weight}
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    return moved | {"N": 2, "C": 6, "HxW": 5, "group": 3, "output_mask": [True] * 3}


def on(device: str, shape: tuple[int, ...], dtype: torch.dtype = F32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


REFUSED = {
    "input_on_the_host": ({"input": on("cpu", (2, 6, 5))}, RuntimeError, "same device"),
    "weight_on_the_host": (
        {"weight": on("cpu", (6,))},
        RuntimeError,
        r"npu:0 \(input\) and cpu \(weight\)",
    ),
    "mean_on_the_other_npu": (
        {"mean": on("npu:1", (2, 3))},
        RuntimeError,
        r"npu:0 \(input\) and npu:1 \(mean\)",
    ),
    "float64": (
        {
            name: on("npu", shape, F64)
            for name, shape in [
                ("grad_out", (2, 6, 5)),
                ("input", (2, 6, 5)),
                ("mean", (2, 3)),
                ("rstd", (2, 3)),
                ("weight", (6,)),
            ]
        },
        NotImplementedError,
        "'Double' on npu: expected Float, Half or BFloat16",
    ),
    "integers": (
        {"input": on("npu", (2, 6, 5), torch.int32)},
        NotImplementedError,
        "not implemented for 'Int'",
    ),
    "gradient_dtype": (
        {"grad_out": on("npu", (2, 6, 5), F16)},
        RuntimeError,
        "scalar types of grad_out and input",
    ),
    "gradient_shape": ({"grad_out": on("npu", (2, 6, 4))}, RuntimeError, "shape of input"),
    "statistics": (
        {"mean": on("npu", (2, 2))},
        RuntimeError,
        r"mean to have N\*group=6 elements, but got 4",
    ),
    "weight_shape": ({"weight": on("npu", (5,))}, RuntimeError, "weight to be a vector"),
    "groups": ({"group": 4}, RuntimeError, "divisible by num_groups"),
    "counts": ({"HxW": 6}, RuntimeError, r"N\*C\*HxW=72 elements, but got 60"),
}


@pytest.mark.parametrize(("change", "error", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_is_queued(change, error, text) -> None:
    calls = kernel_calls()
    with pytest.raises(error, match=text):
        backward(**(arguments() | change))
    assert kernel_calls() == calls
    # A failed queue would poison what follows; the next call must be right.
    good = arguments()
    got = backward(**good)
    cpu = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in good.items()}
    exact = reference.gradients(
        cpu["grad_out"], cpu["input"], cpu["mean"], cpu["rstd"], cpu["weight"], 3
    )
    for value, want, name in zip(got, exact, reference.NAMES, strict=True):
        reference.assert_within(value.cpu(), want, what=name)


def test_the_forward_refuses_like_f_group_norm() -> None:
    x = torch.randn(2, 6, 5).npu()
    for call in (F.group_norm, group_norm_grad.group_norm):
        with pytest.raises(RuntimeError, match="divisible by num_groups"):
            call(x, 4)
    with pytest.raises(RuntimeError, match="same device"):
        group_norm_grad.group_norm(x, 3, torch.ones(6))


def test_the_device_of_the_tensors_counts_and_not_the_current_one() -> None:
    assert torch.npu.current_device() == 0
    got = backward(**arguments("npu:1"))
    want = backward(**arguments("npu:0"))
    assert torch.npu.current_device() == 0
    for a, b in zip(got, want, strict=True):
        assert a.device.index == 1
        assert torch.equal(a.cpu(), b.cpu())


def test_the_report_says_what_runs_on_npu() -> None:
    from group_norm_grad.backend import report

    rows = {row.name: row.value for row in report()}
    assert rows["backward on npu"] == f"our kernel, on {os.environ['LOOPBACK_ACL_SOC']}"
