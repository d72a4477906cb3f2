"""Fixtures shared by all tests; no cases and no expected values here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

# Workers of pytest-xdist share the cores; without this each of them would start a thread for every core.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // WORKERS))

pytest_plugins = ["feature_report"]


@pytest.fixture(scope="module")
def poisoned_empty() -> Iterator[None]:
    """Memory from torch.empty and at::empty is NaN, so that a result that was never written cannot pass."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    assert bool(torch.empty(64).isnan().all()), "torch.empty is not poisoned"
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores the number of intra-op threads that a test changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
