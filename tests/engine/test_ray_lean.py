"""What distq changes in Ray while it starts one is as it was afterwards."""

from __future__ import annotations

import pytest
from ray._private import parameter
from ray._private.node import Node

from distq.engine.ray_lean import without_unused_processes
from distq.errors import ExecutionError


def test_ray_is_itself_again_also_when_it_did_not_start() -> None:
    before = parameter.RayParams, Node.start_api_server
    with without_unused_processes():
        assert parameter.RayParams().no_monitor, "this version of Ray has what is left out"
        assert Node.start_api_server is not before[1]
    assert (parameter.RayParams, Node.start_api_server) == before
    with pytest.raises(ExecutionError), without_unused_processes():
        raise ExecutionError("Ray does not start on this machine")
    assert (parameter.RayParams, Node.start_api_server) == before


@pytest.mark.parametrize("owner", [parameter, Node])
def test_a_ray_without_these_names_starts_as_it_is(monkeypatch: pytest.MonkeyPatch, owner: object) -> None:
    name = "RayParams" if owner is parameter else "start_api_server"
    monkeypatch.delattr(owner, name)
    with without_unused_processes():
        assert not hasattr(owner, name)
    assert not hasattr(owner, name)
