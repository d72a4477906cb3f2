"""PyTorch's own operator tests, replayed for nn.functional.group_norm with a drop-in in its place.

The OpInfo entry is rebuilt with our function, and the very test methods of PyTorch's suites (which are not in its wheel)
are written out here on the same OpInfo and the same testing internals, each named after its original in test/test_ops.py,
test_ops_gradients.py, test_ops_fwd_gradients.py or functorch's test_ops.py. Values and errors are in test_opinfo.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dropins import DropIn, dropin, feature, module_of  # noqa: F401  (dropin is a fixture)
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.fake_utils import CrossRefFakeMode
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import make_tensor
from torch.testing._internal.common_dtype import all_types_and_complex_and
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.composite_compliance import (
    check_backward_formula,
    check_forward_ad_formula,
    check_with_mode,
)
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_map

(ORIGINAL,) = [op for op in op_db if op.name == "nn.functional.group_norm"]
DTYPES = sorted(ORIGINAL.supported_dtypes("cpu"), key=str)
F64 = torch.float64


@pytest.fixture
def op(dropin: DropIn) -> OpInfo:
    """The OpInfo with the drop-in for its operator, inside the drop-in's scope."""
    replaced = copy.copy(ORIGINAL)
    replaced.op = dropin.call
    return replaced


def samples(
    op: OpInfo, dtype: torch.dtype = F64, requires_grad: bool = False
) -> Iterator[SampleInput]:
    torch.manual_seed(0)
    for sample in op.sample_inputs("cpu", dtype, requires_grad=requires_grad):
        # A variance within the OpInfo's eps of -0.5 has no root; NaN compares with nothing.
        if sample.kwargs.get("eps", 1e-5) > 0:
            yield sample


def call(op: OpInfo, sample: SampleInput) -> Tensor:
    output: Tensor = op.op(sample.input, *sample.args, **sample.kwargs)
    return output


def tensors_of(sample: SampleInput) -> list[Tensor]:
    return [
        t for t in (sample.input, *sample.args, *sample.kwargs.values()) if isinstance(t, Tensor)
    ]


def compare(got: object, want: object, dtype: torch.dtype) -> None:
    tolerance = {torch.float16: 1e-2, torch.bfloat16: 6e-2}.get(dtype)
    close = {} if tolerance is None else {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(got, want, **close)


@feature("dtypes, forward and backward")
def test_dtypes(op: OpInfo) -> None:
    """test_ops.py test_dtypes: exactly the dtypes that the OpInfo names work, in the forward and in the backward."""
    supported, with_backward = set(), set()
    for dtype in all_types_and_complex_and(torch.half, torch.bfloat16, torch.bool):
        for requires_grad in (False, True):
            if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
                continue
            try:
                for sample in op.sample_inputs("cpu", dtype, requires_grad=requires_grad):
                    output = call(op, sample)
                    if requires_grad:
                        output.sum().backward()
            except (RuntimeError, NotImplementedError):
                continue
            (with_backward if requires_grad else supported).add(dtype)
    assert supported == ORIGINAL.supported_dtypes("cpu")
    assert with_backward == ORIGINAL.supported_backward_dtypes("cpu")


@feature("noncontiguous samples")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_noncontiguous_samples(op: OpInfo, dtype: torch.dtype) -> None:
    """test_ops.py test_noncontiguous_samples: the same values and gradients from tensors with gaps in their memory."""
    for sample in samples(op, dtype, requires_grad=True):
        strided = sample.noncontiguous()
        got, want = call(op, strided), call(op, sample)
        compare(got, want, dtype)
        upstream = make_tensor(want.shape, dtype=dtype, device="cpu", noncontiguous=True)
        grads = [
            torch.autograd.grad(out, tensors_of(s), upstream)
            for out, s in ((got, strided), (want, sample))
        ]
        compare(grads[0], grads[1], dtype)


@feature("out= refused as by F.group_norm")
def test_out(op: OpInfo) -> None:
    """test_ops.py test_out: the OpInfo says that there is no out= argument, and there is none."""
    assert not ORIGINAL.supports_out
    sample = next(samples(op))
    with pytest.raises(TypeError, match="out"):
        op.op(sample.input, *sample.args, **sample.kwargs, out=torch.empty_like(sample.input))


@feature("variants agree in eager mode")
def test_variant_consistency_eager(op: OpInfo) -> None:
    """test_ops.py test_variant_consistency_eager: no method, in-place or operator variant is offered; keywords work."""
    assert op.method_variant is None and op.inplace_variant is None and op.operator_variant is None
    for sample in samples(op):
        options = {"weight": None, "bias": None, "eps": 1e-5, **sample.kwargs}
        by_name = op.op(input=sample.input, num_groups=sample.args[0], **options)
        by_place = op.op(sample.input, sample.args[0], *options.values())
        assert torch.equal(by_name, by_place) and torch.equal(by_name, call(op, sample))


@feature("conjugate and negative views")
def test_neg_view(op: OpInfo) -> None:
    """test_ops.py test_neg_view: lazily negated inputs and upstream gradients."""
    for sample in samples(op, requires_grad=True):

        def negated(tensor: Any) -> Any:
            if not isinstance(tensor, Tensor):
                return tensor
            view = torch._neg_view(-tensor.detach())
            assert view.is_neg()
            return view.requires_grad_()

        lazy = SampleInput(
            negated(sample.input),
            args=sample.args,
            kwargs={k: negated(v) for k, v in sample.kwargs.items()},
        )
        got, want = call(op, lazy), call(op, sample)
        compare(got, want, F64)
        upstream = torch.randn_like(want)
        compare(
            torch.autograd.grad(got, tensors_of(lazy), torch._neg_view(-upstream)),
            torch.autograd.grad(want, tensors_of(sample), upstream),
            F64,
        )


@feature("complex and bool refused")
@pytest.mark.parametrize(
    "dtype", [torch.complex64, torch.complex128, torch.bool, torch.int64], ids=str
)
def test_unsupported_dtypes(op: OpInfo, dtype: torch.dtype) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        op.op(make_tensor((2, 4, 3), dtype=dtype, device="cpu"), 2)


def with_options(
    op: OpInfo, sample: SampleInput
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """The call as a function of its tensors alone."""
    names = [name for name in ("weight", "bias") if sample.kwargs.get(name) is not None]

    def function(input: Tensor, *vectors: Tensor) -> Tensor:
        given = dict(zip(names, vectors, strict=True))
        output: Tensor = op.op(input, *sample.args, **{**sample.kwargs, **given})
        return output

    return function, tuple(tensors_of(sample))


GRADCHECKS = {
    "fn_grad": {},
    "undefined and batched": {
        "check_undefined_grad": True,
        "check_batched_grad": True,
        "fast_mode": True,
    },
    "forward_mode_AD": {
        "check_forward_ad": True,
        "check_backward_ad": False,
        "check_undefined_grad": False,
        "check_batched_forward_grad": True,
        "fast_mode": True,
    },
}


@feature("gradients, forward AD")
@pytest.mark.parametrize("check", GRADCHECKS)
def test_gradients(op: OpInfo, check: str) -> None:
    """test_ops_gradients.py test_fn_grad and test_ops_fwd_gradients.py test_forward_mode_AD, as their helper calls gradcheck."""
    for sample in samples(op, requires_grad=True):
        function, tensors = with_options(op, sample)
        assert torch.autograd.gradcheck(function, tensors, **GRADCHECKS[check])


@feature("second gradients")
@pytest.mark.parametrize(
    "forward_over_reverse", [False, True], ids=["fn_gradgrad", "fwgrad_bwgrad"]
)
def test_second_gradients(op: OpInfo, forward_over_reverse: bool) -> None:
    """test_ops_gradients.py test_fn_gradgrad, test_ops_fwd_gradients.py test_fn_fwgrad_bwgrad."""
    for sample in samples(op, requires_grad=True):
        function, tensors = with_options(op, sample)
        assert torch.autograd.gradgradcheck(
            function,
            tensors,
            check_fwd_over_rev=forward_over_reverse,
            check_rev_over_rev=not forward_over_reverse,
            check_undefined_grad=not forward_over_reverse,
            check_batched_grad=not forward_over_reverse,
            fast_mode=True,
        )


@feature("forward AD of in-place-free inputs and of results that need no gradient")
def test_inplace_forward_mode_is_not_offered(op: OpInfo) -> None:
    """test_ops_fwd_gradients.py test_inplace_forward_mode_AD applies to operators with an in-place variant: none here."""
    assert op.get_inplace() is None


@feature("compile-fake (FakeTensor against real)")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_fake(op: OpInfo, dtype: torch.dtype) -> None:
    """test_ops.py TestFakeTensor test_fake: shape, stride and dtype of each fake result equal the real one's."""
    for sample in samples(op, dtype):
        for layout in (sample, sample.noncontiguous()):
            want = call(op, layout)
            with FakeTensorMode() as mode:
                fake = layout.transform(
                    lambda t, mode=mode: mode.from_tensor(t) if isinstance(t, Tensor) else t
                )
                got = call(op, fake)
            assert (got.shape, got.stride(), got.dtype) == (want.shape, want.stride(), want.dtype)


@feature("compile-fake (FakeTensor against real)")
def test_fake_crossref_backward(op: OpInfo) -> None:
    """test_ops.py test_fake_crossref_backward_no_amp: every operator of the backward runs fake beside real, and agrees."""
    for sample in samples(op, torch.float32, requires_grad=True):
        output = call(op, sample)
        with CrossRefFakeMode(check_aliasing=True):
            torch.autograd.grad(output.sum(), tensors_of(sample))


@feature("make_fx, symbolic shapes")
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(op: OpInfo, mode: str) -> None:
    """test_proxy_tensor.py: the traced forward and backward give eager's values."""
    for sample in samples(op, requires_grad=True):
        function, tensors = with_options(op, sample)

        def gradients(
            *args: Tensor, function: Callable[..., Tensor] = function
        ) -> tuple[Tensor, ...]:
            leaves = [t.detach().requires_grad_() for t in args]
            output = function(*leaves)
            return output, *torch.autograd.grad(output.sin().sum(), leaves)

        plain = [t.detach() for t in tensors]
        traced = make_fx(gradients, tracing_mode=mode)(*plain)
        torch.testing.assert_close(traced(*plain), gradients(*plain))


@feature("composite compliance")
def test_composite_compliance(op: OpInfo) -> None:
    """test_ops.py TestCompositeCompliance: forward, backward and forward AD on tensor subclasses that hide their data."""
    for sample in samples(op, torch.float64, requires_grad=True):
        args = (sample.input, *sample.args)
        check_with_mode(op.op, args, sample.kwargs, torch.testing.assert_close)
        check_backward_formula(
            op.op, args, sample.kwargs, assert_equal_fn=torch.testing.assert_close
        )
        check_forward_ad_formula(op.op, args, sample.kwargs, None, torch.testing.assert_close)


def stacked(tensor: Tensor, batch: int, dim: int) -> Tensor:
    return torch.stack([tensor.detach() * (i + 1) for i in range(batch)], dim)


@feature("vmap, vmap of vjp, vmap of jvp")
@pytest.mark.parametrize("kind", ["vmap_exhaustive", "vmapvjp", "vmapjvp", "vmapvjpvjp"])
def test_vmap(op: OpInfo, kind: str) -> None:
    """functorch test_ops.py and test_vmap.py: every choice of mapped tensors of every sample, against a loop."""
    for sample in samples(op):
        function, tensors = with_options(op, sample)
        plain = [t.detach() for t in tensors]

        def run(*args: Tensor, function: Callable[..., Tensor] = function) -> object:
            if kind == "vmap_exhaustive":
                return function(*args)
            if kind == "vmapjvp":
                return torch.func.jvp(function, args, tuple(t.cos() for t in args))
            output, pull = torch.func.vjp(function, *args)
            if kind == "vmapvjp":
                return pull(output.cos())
            grads, second = torch.func.vjp(lambda up: pull(up), output.cos())
            return second(tree_map(torch.sin, grads))

        for mapped in product((True, False), repeat=len(plain)):
            if not any(mapped):
                continue
            given = [stacked(t, 2, 0) if m else t for t, m in zip(plain, mapped, strict=True)]
            got = torch.func.vmap(run, tuple(0 if m else None for m in mapped))(*given)
            for i in range(2):
                want = run(*[t[i] if m else t for t, m in zip(given, mapped, strict=True)])
                torch.testing.assert_close(
                    tree_map(lambda t, i=i: t[i], got), want, equal_nan=True, rtol=1e-6, atol=1e-7
                )


@feature("torch.func grad, vjp, jvp against autograd")
def test_functorch(op: OpInfo) -> None:
    """functorch test_ops.py test_grad, test_vjp, test_jvp, test_vjpvjp, test_jvpvjp."""
    for sample in samples(op):
        function, tensors = with_options(op, sample)
        plain = tuple(t.detach() for t in tensors)
        places = tuple(range(len(plain)))

        def loss(*args: Tensor, function: Callable[..., Tensor] = function) -> Tensor:
            return function(*args).sin().sum()

        leaves = [t.clone().requires_grad_() for t in plain]
        first = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
        torch.testing.assert_close(torch.func.grad(loss, places)(*plain), first)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

        def size(*args: Tensor, loss: Callable[..., Tensor] = loss) -> Tensor:
            return sum(g.square().sum() for g in torch.func.grad(loss, places)(*args))  # type: ignore[return-value]

        torch.testing.assert_close(torch.func.grad(size, places)(*plain), second)
        directions = tuple(t.cos() for t in plain)
        value, slope = torch.func.jvp(loss, plain, directions)
        expected = sum((g * d).sum() for g, d in zip(first, directions, strict=True))
        torch.testing.assert_close((value, slope), (loss(*plain), expected), rtol=1e-6, atol=1e-6)


@feature("torch.compile of every sample")
def test_compiled(op: OpInfo, dropin: DropIn) -> None:
    """test_torchinductor_opinfo.py in spirit, by the eager back end of AOTAutograd: every sample, value and gradients."""
    torch.compiler.reset()
    for number, sample in enumerate(samples(op, torch.float32, requires_grad=True)):
        if number % 3:  # compiling takes a second
            continue
        if number % 24 == 0:
            torch.compiler.reset()
        function, tensors = with_options(op, sample)
        if dropin.name == "module":  # modules are made outside of what is compiled
            names = [name for name in ("weight", "bias") if sample.kwargs.get(name) is not None]
            eps = sample.kwargs.get("eps", 1e-5)
            norm = module_of(sample.args[0], sample.input.shape[1], names, eps, "cpu")

            def function(input: Tensor, *vectors: Tensor, norm=norm, names=names) -> Tensor:  # type: ignore[no-untyped-def]
                return functional_call(norm, dict(zip(names, vectors, strict=True)), (input,))

        compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=False)
        got, want = compiled(*tensors), function(*tensors)
        torch.testing.assert_close(got, want)
        upstream = torch.randn_like(want)
        torch.testing.assert_close(
            torch.autograd.grad(got, tensors, upstream),
            torch.autograd.grad(want, tensors, upstream),
            rtol=1e-4,
            atol=1e-4,
        )


@feature("torch.overrides and subclasses")
def test_python_subclasses(op: OpInfo) -> None:
    """test_overrides.py: a subclass that defines __torch_function__ gets the call, and results keep its type."""
    seen: list[Any] = []

    class Logged(Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    for sample in samples(op):
        logged = sample.transform(lambda t: t.as_subclass(Logged) if isinstance(t, Tensor) else t)
        output = call(op, logged)
        assert isinstance(output, Logged)
        torch.testing.assert_close(output.as_subclass(Tensor), call(op, sample))
    assert any(getattr(func, "__name__", "") == F.group_norm.__name__ for func in seen)
