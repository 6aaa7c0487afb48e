"""Loads networks from a folder of the test's own."""

from __future__ import annotations

import networks
import pytest


@pytest.fixture
def load(tmp_path):
    """Write a network to a file and load it as a user's."""
    return lambda proto: networks.load(tmp_path, proto)
