"""torch.compile, torch.export, compiled autograd and fake tensors over every drop-in; values against eager."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dropins import (  # noqa: F401  (device and dropin are fixtures)
    DROPINS,
    DropIn,
    device,
    dropin,
    feature,
    feature_of_operators,
    make_leaves,
)
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._guards import TracingContext
from torch._subclasses import FakeTensorMode
from torch.func import functional_call
from torch.fx import GraphModule
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

import group_norm_grad

OPS = torch.ops.group_norm_grad
GROUPS = 4
SHAPES = ((2, 8, 3, 5), (3, 8, 4, 4), (5, 8, 6, 3))
Block = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch.compiler.reset()


def block_of(dropin: DropIn) -> Block:
    """The norm between two elementwise operations, as compilers like to fuse them."""
    if dropin.name != "module":
        return lambda x, w, b: torch.relu(dropin.call(x * 2, GROUPS, w, b, 1e-5)) + x
    norm = dropin.module(GROUPS, 8)
    return lambda x, w, b: torch.relu(functional_call(norm, {"weight": w, "bias": b}, (x * 2,))) + x


def leaves_on(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return make_leaves(shape, device, torch.float32)


def gradients(block: Block, shape: tuple[int, ...], device: str) -> tuple[Tensor, ...]:
    x, weight, bias, upstream = leaves_on(shape, device)
    output = block(x, weight, bias)
    return output, *torch.autograd.grad(output, (x, weight, bias), upstream)


def assert_close(got: object, want: object) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@feature("torch.compile fullgraph, training")
@pytest.mark.parametrize("dynamic", [False, True, None], ids=["static", "dynamic", "automatic"])
def test_compiled_training(dynamic: bool | None, dropin: DropIn, device: str) -> None:
    """One graph, no break; dynamic shapes are compiled once for all shapes.

    Counted from the first shape on, as a module's eps makes dynamo start over once while it traces, nn.GroupNorm's too.
    """
    counter = CompileCounterWithBackend("aot_eager")
    block = block_of(dropin)
    compiled = torch.compile(block, backend=counter, fullgraph=True, dynamic=dynamic)
    counts = []
    for shape in SHAPES:
        assert_close(gradients(compiled, shape, device), gradients(block, shape, device))
        counts.append(counter.frame_count)
    assert counts[-1] - counts[0] == {False: 2, True: 0, None: 1}[dynamic]


@feature("torch.compile fullgraph, inference")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_compiled_inference(
    mode: Callable[[], Any], dynamic: bool, dropin: DropIn, device: str
) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    block = block_of(dropin)
    compiled = torch.compile(block, backend=counter, fullgraph=True, dynamic=dynamic)
    counts = []
    for shape in SHAPES:
        x, weight, bias, _ = leaves_on(shape, device)
        with mode():
            output = compiled(x, weight, bias)
            assert not output.requires_grad
            assert_close(output, block(x, weight, bias))
        counts.append(counter.frame_count)
    assert counts[-1] - counts[0] == (0 if dynamic else 2)


@feature("torch.compile with inductor")
def test_inductor(dropin: DropIn) -> None:
    """The default back end, with channels_last input, a convolution before and an activation after."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), dropin.module(GROUPS, 8), nn.SiLU())
    nn.init.normal_(model[1].weight)
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(2, 3, 6, 5).to(memory_format=torch.channels_last).requires_grad_()

    def run(call: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        output = call(x)
        return output, *torch.autograd.grad(output.square().sum(), (x, *model.parameters()))

    assert_close(run(compiled), run(model))


@feature("torch.compile with inductor")
def test_inductor_with_dynamic_shapes() -> None:
    block = block_of(DROPINS["function"])
    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    for shape in SHAPES:
        assert_close(gradients(compiled, shape, "cpu"), gradients(block, shape, "cpu"))


@feature("torch.compile under autocast")
def test_compiled_autocast(dropin: DropIn, device: str) -> None:
    block = block_of(dropin)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)

    def run(call: Block) -> tuple[Tensor, ...]:
        with torch.autocast(device, torch.bfloat16):
            return gradients(call, SHAPES[0], device)

    got, want = run(compiled), run(block)
    assert [t.dtype for t in got] == [t.dtype for t in want]
    torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)


@feature("torch.compile of torch.func transforms")
def test_compiled_transforms(dropin: DropIn, device: str) -> None:
    x, weight, bias, upstream = (t.detach() for t in leaves_on((5, 8, 6), device))

    block = block_of(dropin)

    def per_sample(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        def loss(w: Tensor, b: Tensor, x: Tensor, up: Tensor) -> Tensor:
            return (block(x[None], w, b) * up).square().sum()

        grads = torch.func.grad(loss, (0, 1, 2))
        result: tuple[Tensor, ...] = torch.func.vmap(grads, (None, None, 0, 0))(w, b, x, upstream)
        return result

    compiled = torch.compile(per_sample, backend="aot_eager", fullgraph=True)
    assert_close(compiled(x, weight, bias), per_sample(x, weight, bias))


@feature("torch.compile with checkpoint")
def test_compiled_checkpoint(dropin: DropIn, device: str) -> None:
    inner = block_of(dropin)

    def block(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        result: Tensor = checkpoint(inner, x, w, b, use_reentrant=False)
        return result.sin()

    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    want = gradients(block, SHAPES[0], device)
    assert_close(gradients(compiled, SHAPES[0], device), want)


def partitioned_graphs(block: Block) -> tuple[GraphModule, GraphModule]:
    """The forward and the backward graph that AOTAutograd's min-cut partitioner makes of the block."""
    graphs: list[GraphModule] = []

    def keep(graph: GraphModule, _: object) -> Callable[..., Any]:
        graphs.append(graph)
        return torch._functorch.aot_autograd.make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=keep,
        bw_compiler=keep,
        partition_fn=torch._functorch.partitioners.min_cut_rematerialization_partition,
    )
    gradients(torch.compile(block, backend=backend, fullgraph=True), SHAPES[0], "cpu")
    forward, backward = graphs
    return forward, backward


def targets(graph: GraphModule) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


FORWARD, BACKWARD = (
    "group_norm_grad.group_norm_forward.default",
    "group_norm_grad.group_norm_backward.default",
)


@feature_of_operators("AOTAutograd's min-cut partitioner sees our operators")
def test_min_cut() -> None:
    """The kernels are in their graphs, the norm is not computed twice, and its input is recomputed when that is cheaper."""
    block = block_of(DROPINS["function"])
    forward, backward = partitioned_graphs(block)
    assert targets(forward).count(FORWARD) == 1 and BACKWARD not in targets(forward)
    assert targets(backward).count(BACKWARD) == 1 and FORWARD not in targets(backward)
    assert "aten.mul.Tensor" in targets(backward), "x * 2 is recomputed from the leaf, not saved"

    policy = partial(
        create_selective_checkpoint_contexts,
        lambda ctx, op, *args, **kwargs: CheckpointPolicy.MUST_RECOMPUTE,
    )
    again = partitioned_graphs(
        lambda *args: checkpoint(block, *args, use_reentrant=False, context_fn=policy).sin()
    )[1]
    assert FORWARD in targets(again), "asked to recompute everything, it recomputes our forward"
    keep = partial(create_selective_checkpoint_contexts, [OPS.group_norm_forward.default])
    kept = partitioned_graphs(
        lambda *args: checkpoint(block, *args, use_reentrant=False, context_fn=keep).sin()
    )[1]
    assert FORWARD not in targets(kept), "asked to save our forward's results, it does"


def compile_backward_with(dynamic: bool) -> Callable[[GraphModule], Callable[..., Any]]:
    return lambda graph: torch.compile(graph, backend="aot_eager", fullgraph=True, dynamic=dynamic)


@feature("compiled autograd")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiled_autograd(dynamic: bool, dropin: DropIn) -> None:
    """An eager forward whose backward, a hook included, is captured as one graph."""
    block = block_of(dropin)

    def step(shape: tuple[int, ...]) -> list[Tensor | None]:
        x, weight, bias, upstream = leaves_on(shape, "cpu")
        output = block(x, weight, bias)
        output.register_hook(lambda grad: grad * 2)
        output.backward(upstream)
        return [t.grad for t in (x, weight, bias)]

    for shape in SHAPES[: 3 if dynamic else 1]:
        want = step(shape)
        with compiled_autograd._enable(compile_backward_with(dynamic)):
            assert_close(step(shape), want)


@feature("compiled autograd of second derivatives")
def test_compiled_autograd_of_second_derivatives(dropin: DropIn) -> None:
    block = block_of(dropin)
    x, weight, bias, upstream = leaves_on(SHAPES[0], "cpu")
    (grad,) = torch.autograd.grad(block(x, weight, bias), x, upstream, create_graph=True)
    want = torch.autograd.grad(grad.square().sum(), (x, weight), retain_graph=True)
    with compiled_autograd._enable(compile_backward_with(False)):
        grad.square().sum().backward()
    assert_close([x.grad, weight.grad], list(want))


class Net(nn.Module):
    """A convolution and the norm of a drop-in."""

    def __init__(self, norm: type[nn.GroupNorm]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = norm(GROUPS, 8)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


@feature("torch.export, save and load, strict and not")
@pytest.mark.parametrize("strict", [True, False])
def test_export(strict: bool, dropin: DropIn) -> None:
    net = Net(dropin.module)
    sizes = {0: torch.export.Dim("N", min=1, max=64), 2: torch.export.Dim("H", min=5, max=99)}
    program = torch.export.export(
        net, (torch.randn(2, 3, 8, 8),), strict=strict, dynamic_shapes={"x": sizes}
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file)
    names = targets(loaded.graph_module)
    assert any("group_norm" in name for name in names)
    for shape in ((5, 3, 9, 8), (1, 3, 20, 8)):
        x = torch.randn(shape)
        for module in (loaded.module(), loaded.run_decompositions().module()):
            assert_close(module(x), net(x))
    output = loaded.module()(torch.randn(2, 3, 8, 8))
    output.square().sum().backward()
    assert all(p.grad is not None for p in loaded.parameters())


def shape_guards(call: Callable[..., Tensor]) -> set[str]:
    """The guards on sizes that compiling the call for any sizes leaves behind."""
    found: set[str] = set()

    def backend(graph: GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        tracing = TracingContext.get()
        assert tracing.fake_mode is not None and tracing.fake_mode.shape_env is not None
        environment = tracing.fake_mode.shape_env

        def compile_backward(graph: GraphModule, _: object) -> Callable[..., Any]:
            found.update(str(guard.expr) for guard in environment.guards)
            return torch._functorch.aot_autograd.make_boxed_func(graph.forward)

        compiled: Callable[..., Any] = aot_autograd(
            fw_compiler=compile_backward, bw_compiler=compile_backward
        )(graph, example)
        return compiled

    torch.compiler.reset()
    x, weight, bias, _ = leaves_on((3, 8, 5, 6), "cpu")
    compiled = torch.compile(
        lambda *args: call(args[0] * 2, GROUPS, *args[1:], 1e-5),
        backend=backend,
        fullgraph=True,
        dynamic=True,
    )
    compiled(x, weight, bias).sum().backward()
    return found


@feature_of_operators("no guards beyond those of F.group_norm")
def test_guards() -> None:
    ours, theirs = shape_guards(group_norm_grad.group_norm), shape_guards(F.group_norm)
    assert ours and ours <= theirs, ours - theirs


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda t: t,
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "batch innermost": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every other": lambda t: t.repeat_interleave(2, 3)[..., ::2],
    "slice": lambda t: F.pad(t, (1, 2, 3, 1))[:, :, 3:-1, 1:-2],
    "channels_last slice": lambda t: F.pad(t, (0, 0, 0, 0, 1, 2)).contiguous(
        memory_format=torch.channels_last
    )[:, 1:-2],
    "expanded": lambda t: t[:1, :, :1].expand_as(t),
    "zero stride": lambda t: t[:1, :1, :1, :1].expand_as(t),
    "one channel": lambda t: t[:, :1],
    "one position, channels_last": lambda t: t[:, :, :1, :1].contiguous(
        memory_format=torch.channels_last
    ),
}


def described(outputs: tuple[Tensor | None, ...]) -> list[object]:
    return [
        o if o is None else (o.dtype, tuple(o.shape), o.stride(), o.device.type) for o in outputs
    ]


@feature_of_operators("strides of fake outputs equal the real ones")
@pytest.mark.parametrize(
    "dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)], ids=str
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fake_outputs(layout: str, dtypes: tuple[torch.dtype, torch.dtype], device: str) -> None:
    base = torch.randn(3, 8, 4, 5, device=device, dtype=dtypes[0])
    x = LAYOUTS[layout](base)
    n, c, s = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    groups = min(GROUPS, c)
    weight, bias = (torch.rand(c, dtype=dtypes[1], device=device) for _ in range(2))
    stats = torch.rand(n, groups, device=device) + 1
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        fake = {id(t): mode.from_tensor(t) for t in (x, weight, bias, stats)}
    for grad_layout, mask in itertools.product(LAYOUTS, itertools.product((True, False), repeat=3)):
        grad_out = LAYOUTS[grad_layout](base)
        if grad_out.shape != x.shape:
            continue
        args = (stats, stats, weight)
        real = OPS.group_norm_backward(grad_out, x, *args, n, c, s, groups, mask)
        fakes = [fake[id(t)] for t in args]
        made = OPS.group_norm_backward(
            mode.from_tensor(grad_out), fake[id(x)], *fakes, n, c, s, groups, mask
        )
        assert described(made) == described(real)
    for w, b in ((weight, bias), (None, bias), (weight, None), (None, None)):
        real = OPS.group_norm_forward(x, w, b, n, c, s, groups, 1e-5)
        fakes = [None if t is None else fake[id(t)] for t in (w, b)]
        made = OPS.group_norm_forward(fake[id(x)], *fakes, n, c, s, groups, 1e-5)
        assert described(made) == described(real)


@feature_of_operators("functional schemas: nothing mutated, nothing aliased")
@pytest.mark.parametrize("name", ["group_norm", "group_norm_forward", "group_norm_backward"])
def test_schemas_are_functional(name: str) -> None:
    operator = getattr(OPS, name).default
    schema = operator._schema
    assert not schema.is_mutable
    assert all(a.alias_info is None for a in (*schema.arguments, *schema.returns))
    assert torch.Tag.pt2_compliant_tag in operator.tags
