"""GroupNorm as a module, and its way into existing models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .functional import group_norm


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm with our gradient: same arguments, same parameters, same state_dict.

    Input (N, num_channels, ...), float32, float64, float16 or bfloat16; output of the same shape and
    dtype. Errors are those of :func:`group_norm_grad.group_norm`.
    """

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def convert_group_norm(module: nn.Module) -> int:
    """Make every nn.GroupNorm inside ``module`` (itself included) a :class:`GroupNorm`, in place.

    The module objects stay the same ones, so parameters, buffers, hooks, training flag and every
    reference to them (optimizers, wrappers, ties between modules) hold. Layers with parametrizations
    (torch.nn.utils.parametrize) are converted too; other subclasses of nn.GroupNorm are left alone.
    Returns how many were converted; converting twice converts nothing more. :func:`revert_group_norm`
    undoes it.
    """
    return _retype(module, nn.GroupNorm, GroupNorm)


def revert_group_norm(module: nn.Module) -> int:
    """Make every :class:`GroupNorm` inside ``module`` an nn.GroupNorm again, in place; returns how many."""
    return _retype(module, GroupNorm, nn.GroupNorm)


def _retype(module: nn.Module, old: type[nn.GroupNorm], new: type[nn.GroupNorm]) -> int:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"Expected a torch.nn.Module, but got {type(module).__name__}")
    found = [
        (child, cls) for child in module.modules() if (cls := _as(new, child, old)) is not None
    ]
    for child, cls in found:
        child.__class__ = cls
    return len(found)


def _as(
    new: type[nn.GroupNorm], child: nn.Module, old: type[nn.GroupNorm]
) -> type[nn.GroupNorm] | None:
    """The class that makes ``child`` a ``new`` in place of an ``old``; None where it is not one."""
    cls = type(child)
    if cls is old:
        return new
    if parametrize.is_parametrized(child) and cls.__bases__ == (old,):
        # torch gave this module a class of its own, with its parametrized tensors as properties.
        members = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        return type(cls.__name__, (new,), members)
    return None
