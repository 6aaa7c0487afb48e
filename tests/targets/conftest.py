"""Makes the networks and helpers of other folders importable here; adds targets of the tests' own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distq.targets import TARGETS
from distq.targets.target import Target

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("graph", "jobs", "replica")]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[[Target], str]:
    """Registers a target for one test; gives its name."""

    def register(target: Target) -> str:
        monkeypatch.setitem(TARGETS, target.name, target)
        return target.name

    return register
