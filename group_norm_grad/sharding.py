"""Sharding rules (torch.distributed.tensor) of the operators; no arithmetic and no communication of its own.

Samples are independent, and so are groups: an operator runs on local shards of the batch, or of the channels where every
shard holds whole groups. The gradients of a weight that is shared between shards come out as partial sums. Every other
placement is for DTensor to redistribute. torch.distributed.tensor takes long to import and may be absent, so the rules
are registered when a program imports it, not before.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import math
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.distributed.tensor._dtensor_spec import DTensorSpec
    from torch.distributed.tensor._op_schema import OpSchema, OpStrategy

_DTENSOR = "torch.distributed.tensor"

# Of each operator: its tensor arguments, after which come N, C, HxW, group; and where among them input is.
_TENSORS = {"group_norm_forward": 3, "group_norm_backward": 5}
_INPUT = {"group_norm_forward": 0, "group_norm_backward": 1}


def _placements(schema: OpSchema) -> list[list[Any]]:
    """The placements that the operator runs on, over one mesh dimension: those of its outputs, then of its tensors."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    whole, batch, channel, vector = Replicate(), Shard(0), Shard(1), Shard(0)
    if schema.op is torch.ops.group_norm_grad.group_norm_forward.default:
        rules: list[list[Any]] = [
            [whole] * 6,
            [batch, batch, batch, batch, whole, whole],
            [channel, channel, channel, channel, vector, vector],
        ]
        outputs: list[bool] = [True] * 3
    else:
        total = Partial("sum")
        rules = [
            [whole] * 8,
            [batch, total, total, batch, batch, batch, batch, whole],
            [channel, vector, vector, channel, channel, channel, channel, vector],
            # The gradients are linear in grad_out.
            [total, total, total, total, whole, whole, whole, whole],
        ]
        outputs = list(schema.args_schema[9])  # type: ignore[call-overload]
    tensors = _TENSORS[schema.op._opname]
    given = [argument is not None for argument in schema.args_schema[:tensors]]
    # An output that the mask drops has no placement; an argument that is None has no place in the rule.
    return [
        [placement if wanted else None for placement, wanted in zip(rule[:3], outputs, strict=True)]
        + [placement for placement, there in zip(rule[3:], given, strict=True) if there]
        for rule in rules
    ]


def _shards_of_channels(spec: DTensorSpec) -> int:
    return math.prod(
        size
        for size, placement in zip(spec.mesh.shape, spec.placements, strict=True)
        if placement.is_shard(1)
    )


def _strategy(schema: OpSchema) -> OpStrategy:
    """Every way to run the operator on the mesh: the rules of each mesh dimension, as far as groups stay whole."""
    from torch.distributed.tensor._ops.utils import expand_to_full_mesh_op_strategy

    name = schema.op._opname
    group = schema.args_schema[_TENSORS[name] + 3]
    assert isinstance(group, int)

    def groups_stay_whole(inputs: list[DTensorSpec], outputs: object) -> bool:
        return group % _shards_of_channels(inputs[_INPUT[name]]) == 0

    return expand_to_full_mesh_op_strategy(
        schema.get_mesh_from_args(),
        schema,
        _placements(schema),
        input_index=3,
        is_valid_strategy_cb=groups_stay_whole,
    )


def _with_local_sizes(specs: Sequence[DTensorSpec], schema: OpSchema) -> OpSchema:
    """The call with N, C, HxW and group of the local shard in place of the global ones."""
    from torch.distributed.tensor._op_schema import OpSchema
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    name = schema.op._opname
    input = specs[_INPUT[name]]
    assert input.tensor_meta is not None
    shape, _ = compute_local_shape_and_global_offset(
        input.tensor_meta.shape, input.mesh, input.placements
    )
    at = _TENSORS[name]
    arguments = list(schema.args_schema)
    arguments[at : at + 3] = shape[0], shape[1], math.prod(shape[2:])
    arguments[at + 3] = arguments[at + 3] // _shards_of_channels(input)  # type: ignore[operator]
    return OpSchema(schema.op, tuple(arguments), schema.kwargs_schema)


def _register_rules() -> None:
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._op_schema import RuntimeSchemaInfo

    propagator = DTensor._op_dispatcher.sharding_propagator
    for name in _TENSORS:
        operator = getattr(torch.ops.group_norm_grad, name).default
        propagator.register_op_strategy(operator, _strategy, RuntimeSchemaInfo(1))
        propagator.op_to_scalar_shape_adjuster[operator] = _with_local_sizes


class _AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Waits for the import of torch.distributed.tensor and registers the rules at its end."""

    def __init__(self) -> None:
        self.loader: importlib.abc.Loader | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _DTENSOR:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        assert self.loader is not None
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self.loader is not None
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _register_rules()


def register() -> None:
    """Registers the rules, now or when torch.distributed.tensor is imported; called once, at import of the package."""
    if _DTENSOR in sys.modules:
        _register_rules()
    else:
        sys.meta_path.insert(0, _AfterImport())
