"""Targets of the tests' own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from distq.targets import TARGETS
from distq.targets.target import Target


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[[Target], str]:
    """Registers a target for one test; gives its name."""

    def register(target: Target) -> str:
        monkeypatch.setitem(TARGETS, target.name, target)
        return target.name

    return register
