"""The feature tests of every drop-in on the loopback device; what each proves is in its own module."""

from __future__ import annotations

from tests.loopback_acl.features import run_features


def test_features_on_the_loopback_device() -> None:
    assert " passed" in run_features()
