"""Group normalisation as functions: the drop-in for F.group_norm, and the autograd function behind it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

_group_norm = torch.ops.group_norm_grad.group_norm.default
_forward = torch.ops.group_norm_grad.group_norm_forward.default
_backward = torch.ops.group_norm_grad.group_norm_backward.default


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalisation with our gradient: the signature and the values of F.group_norm.

    For each sample and group of C/num_groups channels, ``(x - mean) / sqrt(var + eps) * weight + bias``
    with the biased variance (Wu and He, "Group Normalization", ECCV 2018).

    Args:
        input: (N, C, ...), float32, float64, float16 or bfloat16, any strides.
        num_groups: number of groups; divides C.
        weight, bias: (C), of input's dtype, or float32 beside a 16-bit input; or None.
        eps: added to the variance.

    Returns:
        A tensor of input's shape and dtype, in input's memory format.

    Raises:
        RuntimeError: fewer than two dimensions, num_groups not positive or not a divisor of C, weight or
            bias of another shape, dtype or device than the above.
        ValueError: one value a group (nothing to normalise over).
        TypeError: num_groups is not an integer.
        NotImplementedError: a dtype other than the above.
    """
    if has_torch_function_variadic(input, weight, bias):
        return handle_torch_function(
            group_norm,
            (input, weight, bias),
            input,
            num_groups,
            weight=weight,
            bias=bias,
            eps=eps,
        )
    try:
        return _group_norm(input, num_groups, weight, bias, eps)
    except RuntimeError:
        # The dispatcher has one error type for all arguments that do not fit a schema; F.group_norm has this one.
        if isinstance(num_groups, (int, torch.SymInt)):
            raise
        got = type(num_groups).__name__
        raise TypeError(f"group_norm(): argument 'num_groups' must be int, not {got}") from None


class GroupNormFunction(torch.autograd.Function):
    """Group normalisation as an autograd function whose backward is our operator.

    ``GroupNormFunction.apply(input, num_groups, weight, bias, eps)`` returns (output, mean, rstd): the
    output as of :func:`group_norm`, and the (N, num_groups) statistics, float32 for 16-bit input. All
    three are differentiable, any number of times and under torch.func transforms. :func:`group_norm`
    is faster, having its graph nodes in C++; this class is for code that composes autograd functions.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor, Tensor]:
        N, C, HxW = _geometry(input)
        return _forward(input, weight, bias, N, C, HxW, num_groups, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        input, ctx.num_groups, weight, bias, _ = inputs
        _, mean, rstd = output
        ctx.set_materialize_grads(False)
        ctx.has_bias = bias is not None
        ctx.save_for_backward(input, weight, mean, rstd)
        ctx.save_for_forward(input, weight, mean, rstd)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad_out: Tensor | None, grad_mean: Tensor | None, grad_rstd: Tensor | None
    ) -> tuple[Tensor | None, None, Tensor | None, Tensor | None, None]:
        input, weight, mean, rstd = ctx.saved_tensors
        N, C, HxW = _geometry(input)
        grad_input = grad_weight = grad_bias = None
        if grad_out is not None:
            needs_input, _, needs_weight, needs_bias, _ = ctx.needs_input_grad
            mask = [needs_input, needs_weight and weight is not None, needs_bias and ctx.has_bias]
            grad_input, grad_weight, grad_bias = _backward(
                grad_out, input, mean, rstd, weight, N, C, HxW, ctx.num_groups, mask
            )
        if ctx.needs_input_grad[0] and (grad_mean is not None or grad_rstd is not None):
            # d mean = mean(dx) and d rstd = -rstd^2 mean(xhat dx) over each group.
            rows, row_mean, row_rstd = _rows(input, mean, rstd, ctx.num_groups)
            total = torch.zeros_like(rows)
            if grad_mean is not None:
                total = total + grad_mean.unsqueeze(-1)
            if grad_rstd is not None:
                total = total - grad_rstd.unsqueeze(-1) * row_rstd**3 * (rows - row_mean)
            more = (total / max(rows.shape[-1], 1)).reshape(input.shape).to(input.dtype)
            grad_input = more if grad_input is None else grad_input + more
        return grad_input, None, grad_weight, grad_bias, None

    @staticmethod
    def jvp(  # type: ignore[override]
        ctx: Any,
        input_tangent: Tensor | None,
        _num_groups: None,
        weight_tangent: Tensor | None,
        bias_tangent: Tensor | None,
        _eps: None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        input, weight, mean, rstd = ctx.saved_tensors
        per_channel = (1, input.shape[1]) + (1,) * (input.dim() - 2)
        rows, row_mean, row_rstd = _rows(input, mean, rstd, ctx.num_groups)
        xhat = (rows - row_mean) * row_rstd
        tangent = torch.zeros_like(rows).reshape(input.shape)
        mean_tangent, rstd_tangent = torch.zeros_like(mean), torch.zeros_like(rstd)
        if input_tangent is not None:
            dx = input_tangent.to(rows.dtype).reshape(rows.shape)
            mean_dx, mean_xhat_dx = dx.mean(-1, keepdim=True), (xhat * dx).mean(-1, keepdim=True)
            tangent = (row_rstd * (dx - mean_dx - xhat * mean_xhat_dx)).reshape(input.shape)
            if weight is not None:
                tangent = tangent * weight.to(rows.dtype).reshape(per_channel)
            mean_tangent = mean_dx.squeeze(-1)
            rstd_tangent = (-(row_rstd**2) * mean_xhat_dx).squeeze(-1)
        if weight_tangent is not None:
            tangent = tangent + xhat.reshape(input.shape) * weight_tangent.reshape(per_channel)
        if bias_tangent is not None:
            tangent = tangent + bias_tangent.reshape(per_channel)
        return tangent.to(input.dtype), mean_tangent, rstd_tangent


def _geometry(input: Tensor) -> tuple[int, int, int]:
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    return input.shape[0], input.shape[1], math.prod(input.shape[2:])


def _rows(
    input: Tensor, mean: Tensor, rstd: Tensor, num_groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """input as (N, num_groups, elements) rows in the statistics' dtype, mean and rstd beside them."""
    N, C, HxW = _geometry(input)
    rows = input.to(mean.dtype).reshape(N, num_groups, C // num_groups * HxW)
    return rows, mean.unsqueeze(-1), rstd.unsqueeze(-1)
