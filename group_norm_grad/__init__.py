"""group_norm_grad: the gradient of group normalisation, as a drop-in for F.group_norm in training."""

from __future__ import annotations

import torch

from . import _build_info

__version__ = _build_info.VERSION


def _minor(version: str) -> str:
    return ".".join(version.split("+")[0].split(".")[:2])


_MISMATCH = (
    f"group_norm_grad {__version__} was built against torch {_build_info.TORCH_VERSION}, but the torch "
    f"imported here is {torch.__version__}; rebuild it with "
    "`pip install --no-build-isolation --force-reinstall --no-deps group_norm_grad`"
)
if _minor(torch.__version__) != _minor(_build_info.TORCH_VERSION):
    raise ImportError(_MISMATCH)
try:
    from . import _C  # noqa: F401  (loading it registers the operators)
except ImportError as error:
    raise ImportError(f"{_MISMATCH} ({error})") from error

from . import sharding, transforms  # noqa: E402
from .functional import GroupNormFunction, group_norm  # noqa: E402
from .modules import GroupNorm, convert_group_norm, revert_group_norm  # noqa: E402
from .override import disable, enable, enabled, is_enabled  # noqa: E402

transforms.register()
sharding.register()

__all__ = [
    "GroupNorm",
    "GroupNormFunction",
    "convert_group_norm",
    "disable",
    "enable",
    "enabled",
    "group_norm",
    "is_enabled",
    "revert_group_norm",
]
