"""Batching rules (torch.vmap) of the operators; no arithmetic of its own.

A mapped dimension is folded into N while weight and bias are shared, and into C (B*C channels, B*G
groups) when they, or their gradients, are per sample: each sample then has channels of its own.
Registered from Python, because torch's wheel does not ship all headers that a C++ rule needs; and not by
torch.library.register_vmap, whose handling of arbitrary trees of arguments takes longer than the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch._C._functorch import _add_batch_dim, _unwrap_batched, maybe_current_level

Outputs = tuple[Tensor | None, Tensor | None, Tensor | None]
OutDims = tuple[int | None, int | None, int | None]


def _front(tensor: Tensor, dim: int | None, batch: int) -> Tensor:
    """The tensor with its mapped dimension in front, made (as a view) if absent."""
    if dim is None:
        return tensor.unsqueeze(0).expand(batch, *tensor.shape)
    return tensor.movedim(dim, 0)


def _in_rows(tensor: Tensor, dim: int | None, batch: int) -> Tensor:
    """(B, N, ...) -> (B*N, ...)."""
    return _front(tensor, dim, batch).flatten(0, 1)


def _in_channels(tensor: Tensor, dim: int | None, batch: int) -> Tensor:
    """(B, N, C, ...) -> (N, B*C, ...)."""
    if dim is None:
        N, *rest = tensor.shape
        return tensor.unsqueeze(1).expand(N, batch, *rest).flatten(1, 2)
    return tensor.movedim(dim, 1).flatten(1, 2)


def _vector_in_channels(vector: Tensor | None, dim: int | None, batch: int) -> Tensor | None:
    """(B, C) -> (B*C)."""
    return None if vector is None else _front(vector, dim, batch).flatten(0, 1)


def _unfold(tensor: Tensor | None, at: int, batch: int, size: int) -> Tensor | None:
    """Dimension `at` of size B*size becomes (B, size); the mapped dimension is then `at`."""
    return None if tensor is None else tensor.unflatten(at, (batch, size))


def _out(outputs: Outputs, dims: tuple[int, int, int]) -> tuple[Outputs, OutDims]:
    a, b, c = (None if o is None else dim for o, dim in zip(outputs, dims, strict=True))
    return outputs, (a, b, c)


def forward_rule(
    batch: int,
    in_dims: tuple[int | None, ...],
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> tuple[Outputs, OutDims]:
    """group_norm_forward under vmap: output, mean, rstd and their mapped dimensions."""
    op = torch.ops.group_norm_grad.group_norm_forward.default
    input_dim, weight_dim, bias_dim = in_dims[:3]
    if weight_dim is None and bias_dim is None:
        folded = op(_in_rows(input, input_dim, batch), weight, bias, batch * N, C, HxW, group, eps)
        output, mean, rstd = (_unfold(tensor, 0, batch, N) for tensor in folded)
        return _out((output, mean, rstd), (0, 0, 0))
    output, mean, rstd = op(
        _in_channels(input, input_dim, batch),
        _vector_in_channels(weight, weight_dim, batch),
        _vector_in_channels(bias, bias_dim, batch),
        N,
        batch * C,
        HxW,
        batch * group,
        eps,
    )
    unfolded = (
        _unfold(output, 1, batch, C),
        _unfold(mean, 1, batch, group),
        _unfold(rstd, 1, batch, group),
    )
    return _out(unfolded, (1, 1, 1))


def backward_rule(
    batch: int,
    in_dims: tuple[int | None, ...],
    grad_out: Tensor,
    input: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    output_mask: list[bool],
) -> tuple[Outputs, OutDims]:
    """group_norm_backward under vmap: grad_input, grad_weight, grad_bias and their mapped dimensions."""
    op = torch.ops.group_norm_grad.group_norm_backward.default
    grad_out_dim, input_dim, mean_dim, rstd_dim, weight_dim = in_dims[:5]
    mean, rstd = (
        _front(tensor, dim, batch).reshape(batch, N, group)
        for tensor, dim in ((mean, mean_dim), (rstd, rstd_dim))
    )
    if weight_dim is None and not output_mask[1] and not output_mask[2]:
        grad_input, _, _ = op(
            _in_rows(grad_out, grad_out_dim, batch),
            _in_rows(input, input_dim, batch),
            mean.flatten(0, 1),
            rstd.flatten(0, 1),
            weight,
            batch * N,
            C,
            HxW,
            group,
            output_mask,
        )
        return _out((_unfold(grad_input, 0, batch, N), None, None), (0, 0, 0))
    grad_input, grad_weight, grad_bias = op(
        _in_channels(grad_out, grad_out_dim, batch),
        _in_channels(input, input_dim, batch),
        _in_channels(mean, 0, batch),
        _in_channels(rstd, 0, batch),
        _vector_in_channels(weight, weight_dim, batch),
        N,
        batch * C,
        HxW,
        batch * group,
        output_mask,
    )
    unfolded = (
        _unfold(grad_input, 1, batch, C),
        _unfold(grad_weight, 0, batch, C),
        _unfold(grad_bias, 0, batch, C),
    )
    return _out(unfolded, (1, 0, 0))


def _kernel(
    op: Callable[..., Outputs], rule: Callable[..., tuple[Outputs, OutDims]], tensors: int
) -> Callable[..., Outputs]:
    """The rule as a kernel of the operator, whose first arguments are that many tensors or None."""
    batched = DispatchKeySet(DispatchKey.FuncTorchBatched)

    def call(*args: Any) -> Outputs:
        level = maybe_current_level()
        assert level is not None
        batch = None
        plain: list[Tensor | None] = []
        in_dims: list[int | None] = []
        for tensor in args[:tensors]:
            if tensor is None:
                plain.append(None)
                in_dims.append(None)
                continue
            value, dim = _unwrap_batched(tensor, level)
            if dim is not None:
                batch = value.shape[dim]
            plain.append(value)
            in_dims.append(dim)
        with _ExcludeDispatchKeyGuard(batched):
            if batch is None:  # mapped at an outer level only
                return op(*args)
            outputs, out_dims = rule(batch, in_dims, *plain, *args[tensors:])
        a, b, c = (
            output if output is None or dim is None else _add_batch_dim(output, dim, level)
            for output, dim in zip(outputs, out_dims, strict=True)
        )
        return a, b, c

    return call


_library = torch.library.Library("group_norm_grad", "IMPL")  # unregisters when it is collected


def register() -> None:
    """Registers the rules; called once, when the package is imported."""
    ops = torch.ops.group_norm_grad
    for op, rule, tensors in (
        (ops.group_norm_forward.default, forward_rule, 3),
        (ops.group_norm_backward.default, backward_rule, 5),
    ):
        _library.impl(op, _kernel(op, rule, tensors), "FuncTorchBatched")
