"""What distq changes in Ray while it starts one is as it was afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ray._private import parameter, services
from ray._private.node import Node
from ray._private.ray_constants import PROCESS_TYPE_RAYLET, PROCESS_TYPE_RUNTIME_ENV_AGENT

from distq.engine.ray_lean import without_unused_processes
from distq.errors import ExecutionError


def test_ray_is_itself_again_also_when_it_did_not_start() -> None:
    before = _changed()
    with without_unused_processes():
        assert parameter.RayParams().no_monitor, "this version of Ray has what is left out"
        assert all(now is not then for now, then in zip(_changed(), before, strict=True))
    assert _changed() == before
    with pytest.raises(ExecutionError), without_unused_processes():
        raise ExecutionError("Ray does not start on this machine")
    assert _changed() == before


@pytest.mark.parametrize("owner", [parameter, Node])
def test_a_ray_without_these_names_starts_as_it_is(monkeypatch: pytest.MonkeyPatch, owner: object) -> None:
    name = "RayParams" if owner is parameter else "start_api_server"
    monkeypatch.delattr(owner, name)
    with without_unused_processes():
        assert not hasattr(owner, name)
    assert not hasattr(owner, name)


def test_what_stands_for_an_agent_ends_with_who_started_it_and_with_the_folder(tmp_path: Path) -> None:
    with without_unused_processes():
        idle = [*_command_of(PROCESS_TYPE_RUNTIME_ENV_AGENT, tmp_path), "--its=arguments"]
        assert _command_of(PROCESS_TYPE_RAYLET, tmp_path) != idle
    start = f"import subprocess, time; subprocess.Popen({idle}); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE) as parent:  # noqa: S603  # the test's
        parent.communicate(timeout=20)  # the last process that has the pipe closes it
    with subprocess.Popen(idle) as alone:  # noqa: S603  # as above
        assert alone.poll() is None
        tmp_path.rmdir()
        assert alone.wait(timeout=20) == 0


def test_environments_that_ray_is_to_make_have_their_agent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = _command_of(PROCESS_TYPE_RUNTIME_ENV_AGENT, tmp_path)
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "module.hook")
    with without_unused_processes():
        assert _command_of(PROCESS_TYPE_RUNTIME_ENV_AGENT, tmp_path) == own


def test_a_version_that_was_not_tried_has_its_agents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = _command_of(PROCESS_TYPE_RUNTIME_ENV_AGENT, tmp_path)
    monkeypatch.setattr("ray._version.version", "2.99.0")
    with without_unused_processes():
        assert _command_of(PROCESS_TYPE_RUNTIME_ENV_AGENT, tmp_path) == own


def _changed() -> tuple[object, ...]:
    command = services._build_python_executable_command_memory_profileable
    return parameter.RayParams, Node.start_api_server, Node.start_raylet, command


def _command_of(component: str, session: Path) -> list[str]:
    return list(services._build_python_executable_command_memory_profileable(component, str(session)))
