"""PyTorch's own samples and error inputs for nn.functional.group_norm, run on our function and on F.group_norm under
enable(); no samples of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

import group_norm_grad

(OPINFO,) = [op for op in op_db if op.name == "nn.functional.group_norm"]
assert isinstance(OPINFO, OpInfo) and OPINFO.ref is not None
REFERENCE: Callable[..., Any] = OPINFO.ref
DTYPES = sorted(OPINFO.supported_dtypes("cpu"), key=str)
# For values of order one: test_numerics has the sharp bounds, this is PyTorch's own kind of comparison.
TOLERANCE = {
    torch.float64: 1e-11,
    torch.float32: 2e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}

Way = tuple[Callable[..., Tensor], Callable[[], AbstractContextManager[object]]]
WAYS: dict[str, Way] = {
    "our_function": (group_norm_grad.group_norm, nullcontext),
    "enabled": (F.group_norm, group_norm_grad.enabled),
}


@pytest.fixture(params=WAYS)
def function(request: pytest.FixtureRequest) -> Iterator[Callable[..., Tensor]]:
    """Our function, or F.group_norm while our kernel is enabled."""
    call, scope = WAYS[request.param]
    with scope():
        yield call


def samples(dtype: torch.dtype, requires_grad: bool = True) -> list[SampleInput]:
    """Every sample of the OpInfo, the reference ones included (they start with the plain ones)."""
    torch.manual_seed(0)
    return list(OPINFO.reference_inputs("cpu", dtype, requires_grad=requires_grad))


def leaves_of(sample: SampleInput) -> list[Tensor]:
    tensors = [sample.input, *sample.args, *sample.kwargs.values()]
    return [t for t in tensors if isinstance(t, Tensor) and t.requires_grad]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_samples_give_the_values_and_gradients_of_pytorch(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    for sample in samples(dtype):
        output = function(sample.input, *sample.args, **sample.kwargs)
        wide = sample.transform(
            lambda x: x.detach().double().requires_grad_() if isinstance(x, Tensor) else x
        )
        want = F.group_norm(wide.input, *wide.args, **wide.kwargs)
        assert output.dtype == dtype and output.shape == want.shape
        compare: dict[str, Any] = {
            "rtol": TOLERANCE[dtype],
            "atol": TOLERANCE[dtype],
            "equal_nan": True,
        }
        torch.testing.assert_close(output.double(), want, **compare)
        grad_out = torch.randn(output.shape).to(dtype)
        got_grads = torch.autograd.grad(output, leaves_of(sample), grad_out, allow_unused=True)
        want_grads = torch.autograd.grad(
            want, leaves_of(wide), grad_out.double(), allow_unused=True
        )
        for leaf, got, expected in zip(leaves_of(sample), got_grads, want_grads, strict=True):
            assert got.dtype == leaf.dtype
            torch.testing.assert_close(got.double(), expected, **compare)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_samples_agree_with_the_numpy_reference(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """The forward against the OpInfo's own NumPy reference, as PyTorch's test_reference does."""
    for sample in samples(dtype, requires_grad=False):
        double = sample.transform(lambda x: x.double() if isinstance(x, Tensor) else x)
        converted = double.numpy()
        if not sample.input.numel():
            continue
        want = torch.from_numpy(REFERENCE(converted.input, *converted.args, **converted.kwargs))
        got = function(sample.input, *sample.args, **sample.kwargs)
        torch.testing.assert_close(
            got.double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True
        )


@pytest.mark.parametrize("index", range(len(list(OPINFO.error_inputs("cpu")))))
def test_error_inputs(function: Callable[..., Tensor], index: int) -> None:
    error = list(OPINFO.error_inputs("cpu"))[index]
    sample = error.sample_input
    with pytest.raises(error.error_type, match=error.error_regex):
        function(sample.input, *sample.args, **sample.kwargs)


def test_samples_pass_gradcheck_and_gradgradcheck(function: Callable[..., Tensor]) -> None:
    """The plain samples in float64: reverse, forward and batched first derivatives, and second derivatives."""
    torch.manual_seed(0)
    checked = 0
    for sample in OPINFO.sample_inputs("cpu", torch.float64, requires_grad=True):
        # A variance below 0.5 with the OpInfo's eps of -0.5 is NaN, and one above it may be too near for differences.
        if sample.kwargs.get("eps", 1e-5) < 0:
            continue
        names = [name for name in ("weight", "bias") if sample.kwargs.get(name) is not None]

        def call(input: Tensor, *vectors: Tensor, sample: SampleInput = sample) -> Tensor:
            given = dict(zip(names, vectors, strict=True))
            return function(input, *sample.args, **{**sample.kwargs, **given})

        tensors = [sample.input, *(sample.kwargs[name] for name in names)]
        assert torch.autograd.gradcheck(
            call, tensors, check_forward_ad=True, check_batched_grad=True, check_undefined_grad=True
        )
        assert torch.autograd.gradgradcheck(call, tensors)
        checked += 1
    assert checked == 17
