"""Our kernel in place of PyTorch's under every F.group_norm and nn.GroupNorm of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import _C


def enable() -> None:
    """Swap the kernel of aten::native_group_norm_backward for ours, process-wide.

    Models, autograd, autocast and functorch stay PyTorch's own. Idempotent and thread-safe; takes
    effect for every backward that starts after the call. Per-sample gradients of the weight by
    torch.func are not affected: PyTorch's batching rule writes them out without calling the kernel.
    """
    _C.enable_override()


def disable() -> None:
    """Back to PyTorch's own kernel. Idempotent.

    Our entry stays in the dispatcher and passes calls on, because removing it would pull it from under
    a backward that another thread is just starting.
    Inside an open ``with enabled()`` the swap stays until that block ends.
    """
    _C.disable_override()


@contextmanager
def enabled() -> Iterator[None]:
    """``with enabled():`` swaps the kernel for the block. Blocks nest, and may overlap between threads."""
    _C.enter_override()
    try:
        yield
    finally:
        _C.leave_override()


def is_enabled() -> bool:
    """Whether aten::native_group_norm_backward is our kernel now."""
    return _C.override_active()
