"""What the function and the operators refuse: the error types and wording of F.group_norm, with the values got."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import group_norm_grad

OPS = torch.ops.group_norm_grad
ALL = [True, True, True]


def ones(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.ones(shape, dtype=dtype, device=device)


X = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))

# Arguments of F.group_norm, what its error says, and the values that ours has to add.
CALLS: dict[str, tuple[tuple[Any, ...], str, list[str]]] = {
    "no_dims": ((torch.tensor(1.0), 1), "Expected at least 2 dimensions", ["0"]),
    "one_dim": ((ones(4), 2), "Expected at least 2 dimensions", ["1"]),
    "indivisible": (
        (X, 4),
        "Expected number of channels in input to be divisible by num_groups",
        ["[2, 6, 5]", "num_groups=4"],
    ),
    "negative_groups": ((X, -1), "Expected num groups to be greater than 0", ["-1"]),
    "weight_too_short": (
        (X, 3, ones(5)),
        "Expected weight to be a vector of size equal to the number of channels in input",
        ["[5]", "[2, 6, 5]"],
    ),
    "weight_of_two_dims": (
        (X, 3, ones(6, 1)),
        "Expected weight to be a vector of size equal to the number of channels in input",
        ["[6, 1]", "[2, 6, 5]"],
    ),
    "bias_too_long": (
        (X, 3, None, ones(7)),
        "Expected bias to be a vector of size equal to the number of channels in input",
        ["[7]", "[2, 6, 5]"],
    ),
    "bias_of_two_dims": (
        (X, 3, ones(6), ones(1, 6)),
        "Expected bias to be a vector of size equal to the number of channels in input",
        ["[1, 6]", "[2, 6, 5]"],
    ),
    "one_value_a_group": (
        (X[:1, :2, :1], 2),
        "Expected more than 1 value per channel when training",
        ["[1, 2, 1]"],
    ),
    "integers": ((X.int(), 3), "not implemented for 'Int'", []),
    "complex": ((X.to(torch.complex64), 3), "not implemented for 'ComplexFloat'", []),
    "groups_not_an_integer": ((X, 2.5), "num_groups", ["float"]),
    "not_a_tensor": (([[1.0]], 1), "", []),
}


def without_brackets_of_list(text: str) -> str:
    return text.replace("torch.Size(", "").replace("(", "[").replace(")", "]")


@pytest.mark.parametrize("way", ["function", "operator", "module"])
@pytest.mark.parametrize("case", CALLS)
def test_refused_as_by_pytorch(case: str, way: str) -> None:
    """Same type as F.group_norm's error (for the operator, as torch.group_norm's), its words, and the values."""
    args, words, values = CALLS[case]
    with pytest.raises(Exception) as expected:
        F.group_norm(*args)
    call: Callable[..., Tensor] = group_norm_grad.group_norm
    if way == "operator":
        call = OPS.group_norm
    if way == "module":
        call = call_module
    if case == "not_a_tensor" or (case == "groups_not_an_integer" and way != "function"):
        with pytest.raises((TypeError, RuntimeError, AttributeError)):
            call(*args)
        return
    with pytest.raises(type(expected.value), match=re.escape(words)) as got:
        call(*args)
    assert type(got.value) is type(expected.value)
    for value in values:
        assert value in without_brackets_of_list(str(got.value))


def call_module(input: Tensor, groups: int, weight: Any = None, bias: Any = None) -> Tensor:
    """The arguments through the module's forward, past the constructor's own checks."""
    module: Any = group_norm_grad.GroupNorm(1, 1, affine=False)
    module.num_groups = groups
    module.weight, module.bias = (
        None if t is None else torch.nn.Parameter(t) for t in (weight, bias)
    )
    return module(input)  # type: ignore[no-any-return]


def test_no_groups_is_an_error_with_a_reason() -> None:
    """F.group_norm divides by it in Python (ZeroDivisionError); ours says what torch.group_norm says."""
    with pytest.raises(RuntimeError, match="Expected num groups to be greater than 0, got 0"):
        group_norm_grad.group_norm(X, 0)


@pytest.mark.parametrize(
    ("dtype", "weight", "bias"),
    [
        (torch.float32, torch.float64, None),
        (torch.float64, torch.float32, None),
        (torch.float32, torch.float16, torch.float16),
        (torch.float16, torch.bfloat16, None),
        (torch.bfloat16, torch.float64, torch.float64),
        (torch.bfloat16, torch.float32, torch.bfloat16),
        (torch.float16, torch.float16, torch.float32),
        (torch.float32, torch.int64, None),
    ],
    ids=str,
)
def test_dtypes_that_do_not_go_together(
    dtype: torch.dtype, weight: torch.dtype | None, bias: torch.dtype | None
) -> None:
    """The pairs that F.group_norm refuses, with both dtypes in the message."""
    vectors: list[Any] = [None if d is None else ones(6, dtype=d) for d in (weight, bias)]
    with pytest.raises(RuntimeError):
        F.group_norm(X.to(dtype), 3, *vectors)
    with pytest.raises(RuntimeError) as error:
        group_norm_grad.group_norm(X.to(dtype), 3, *vectors)
    text = str(error.value).lower()
    assert "weight" in text or "bias" in text
    named = {
        torch.float16: "half",
        torch.float32: "float",
        torch.float64: "double",
        torch.int64: "long",
    }
    got = weight if weight is not None and weight != dtype else bias
    assert got is not None
    short = str(got).removeprefix("torch.")
    assert short in text or named.get(got, short) in text, text


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_two_devices(name: str) -> None:
    with pytest.raises(RuntimeError, match="same device|expected device"):
        group_norm_grad.group_norm(X, 3, **{name: ones(6, device="meta")})  # type: ignore[arg-type]


def backward_args() -> dict[str, Any]:
    return {
        "grad_out": torch.randn(2, 6, 5),
        "input": X,
        "mean": torch.randn(2, 3),
        "rstd": torch.rand(2, 3),
        "weight": torch.rand(6),
        "N": 2,
        "C": 6,
        "HxW": 5,
        "group": 3,
        "output_mask": ALL,
    }


# One argument of group_norm_backward changed, and what the message has to say: the argument and the values.
BACKWARD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "groups_zero": ({"group": 0}, ["num groups", "0"]),
    "groups_negative": ({"group": -3}, ["num groups", "-3"]),
    "groups_indivisible": ({"group": 4}, ["divisible", "6", "4"]),
    "negative_n": ({"N": -2}, ["-2"]),
    "negative_hxw": ({"HxW": -5}, ["-5"]),
    "wrong_n": ({"N": 3}, ["input", "90", "60"]),
    "wrong_c": ({"C": 9}, ["input", "90", "60"]),
    "wrong_hxw": ({"HxW": 4}, ["input", "48", "60"]),
    "n_and_c_swapped": ({"N": 6, "C": 2, "group": 1}, ["N=6", "C=2", "[2, 6, 5]"]),
    "product_beyond_64_bits": ({"N": 2**40, "HxW": 2**40}, [str(2**40)]),
    "grad_out_shape": ({"grad_out": torch.randn(2, 6, 4)}, ["grad_out", "[2, 6, 4]", "[2, 6, 5]"]),
    "grad_out_same_numel": ({"grad_out": torch.randn(2, 5, 6)}, ["grad_out", "[2, 5, 6]"]),
    "grad_out_dtype": (
        {"grad_out": torch.randn(2, 6, 5).double()},
        ["grad_out", "Double", "Float"],
    ),
    "mean_too_long": ({"mean": torch.randn(2, 4)}, ["mean", "6", "8"]),
    "rstd_too_short": ({"rstd": torch.randn(5)}, ["rstd", "6", "5"]),
    "mean_dtype": ({"mean": torch.randn(2, 3).double()}, ["mean", "float64", "float32"]),
    "rstd_dtype": ({"rstd": torch.randn(2, 3).half()}, ["rstd", "float16", "float32"]),
    "weight_shape": ({"weight": ones(7)}, ["weight", "[7]"]),
    "weight_dims": ({"weight": ones(2, 3)}, ["weight", "[2, 3]"]),
    "weight_dtype": ({"weight": ones(6).double()}, ["weight", "float64", "float32"]),
    "integers": ({"input": X.int(), "grad_out": X.int()}, ["not implemented for 'Int'"]),
    "mean_elsewhere": ({"mean": ones(2, 3, device="meta")}, ["device", "meta"]),
    "weight_elsewhere": ({"weight": ones(6, device="meta")}, ["device", "meta"]),
}


def refusals() -> list[tuple[str, str]]:
    """Every case in every way in which it can be put."""
    impossible = {
        ("with_gradients", "integers"),  # an integer tensor cannot require a gradient
        ("meta", "mean_elsewhere"),  # all tensors are on meta there
        ("meta", "weight_elsewhere"),
        ("enabled_aten", "mean_elsewhere"),  # PyTorch refuses mixed devices before any kernel
        ("enabled_aten", "weight_elsewhere"),
        (
            "meta",
            "product_beyond_64_bits",
        ),  # symbolic sizes have no overflow to see; refused as a wrong count
    }
    ways = ("eager", "with_gradients", "meta", "enabled_aten")
    return [(way, case) for way in ways for case in BACKWARD if (way, case) not in impossible]


@pytest.mark.parametrize(("way", "case"), refusals())
def test_backward_operator_refuses(way: str, case: str) -> None:
    """The same checks on every dispatch key, and under enable(); nothing crashes and nothing is written."""
    change, said = BACKWARD[case]
    args = {**backward_args(), **change}
    if way == "with_gradients":
        for name in ("grad_out", "input", "weight"):
            args[name] = args[name].detach().requires_grad_()
    if way == "meta":
        args = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in args.items()}
    operator = OPS.group_norm_backward
    if way == "enabled_aten":
        operator = torch.ops.aten.native_group_norm_backward
    with group_norm_grad.enabled(), pytest.raises((RuntimeError, NotImplementedError)) as error:
        operator(*args.values())
    text = str(error.value)
    for value in said:
        assert value in text, text


FORWARD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "groups_zero": ({"group": 0}, ["num groups", "0"]),
    "groups_indivisible": ({"group": 4}, ["divisible", "6", "4"]),
    "wrong_n": ({"N": 3}, ["input", "90", "60"]),
    "wrong_hxw": ({"HxW": 4}, ["input", "48", "60"]),
    "weight_shape": ({"weight": ones(5)}, ["weight", "[5]"]),
    "bias_shape": ({"bias": ones(7)}, ["bias", "[7]"]),
    "weight_dtype": ({"weight": ones(6).double()}, ["weight", "float64"]),
    "weight_and_bias": (
        {"input": X.half(), "weight": ones(6).half()},
        ["weight", "bias", "Half", "Float"],
    ),
}


@pytest.mark.parametrize("case", FORWARD)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_forward_operator_refuses(case: str, device: str) -> None:
    change, said = FORWARD[case]
    args: dict[str, Any] = {
        "input": X,
        "weight": ones(6),
        "bias": ones(6),
        "N": 2,
        "C": 6,
        "HxW": 5,
        "group": 3,
        "eps": 1e-5,
        **change,
    }
    args = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in args.items()}
    with pytest.raises(RuntimeError) as error:
        OPS.group_norm_forward(*args.values())
    for value in said:
        assert value in str(error.value)


def test_devices_without_a_kernel_are_named() -> None:
    """A sparse input reaches no kernel of ours: an error, not a crash."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        group_norm_grad.group_norm(X.to_sparse(), 3)
