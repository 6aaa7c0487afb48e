"""Ray is asked for its node when that is there, and told nothing that its version may not know."""

from __future__ import annotations

import pytest
from ray._private import services, state

from distq.engine.ray_quick import settings, without_long_waits

NODE = "ab12"


class Registering:
    """Ray's state, in which the node stands at the third look."""

    looks = 0

    def _initialize_global_state(self, options: object) -> None:
        del options

    def node_table(self) -> list[dict[str, str]]:
        Registering.looks += 1
        return [{"NodeID": "another"}, *([{"NodeID": NODE}] if Registering.looks > 2 else [])]

    def disconnect(self) -> None:
        pass


def test_a_node_is_asked_for_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def get_node(address: str, node_id: str) -> str:
        asked.append(Registering.looks)
        return f"{node_id} at {address}"

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(state, "GlobalState", Registering)
    monkeypatch.setattr(Registering, "looks", 0)
    with without_long_waits():
        assert services.get_node("127.0.0.1:1", NODE) == f"{NODE} at 127.0.0.1:1"
    assert asked == [3]
    assert services.get_node is get_node


def test_a_version_that_was_not_tried_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asks, told = services.get_node, settings()
    monkeypatch.setattr("ray._version.version", "2.99.0")
    with without_long_waits():
        assert services.get_node is asks
    assert settings().items() < told.items()
