"""A Ray for one job: without what shows it to people and makes it grow."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from distq.engine import ray_idle

_PARAMETERS = {
    "no_monitor": True,  # asks clouds for nodes
    "include_log_monitor": False,  # prints what workers write, which is switched off
    "dashboard_agent_listen_port": 0,  # any; Ray's own, where another Ray has it, is tried for four seconds
}
_DASHBOARD = "start_api_server"  # starts a process also where no dashboard is wanted, and waits for it
_AGENTS = ("PROCESS_TYPE_DASHBOARD_AGENT", "PROCESS_TYPE_RUNTIME_ENV_AGENT")
_PORTS = (
    "DASHBOARD_AGENT_LISTEN_PORT_NAME",
    "METRICS_AGENT_PORT_NAME",
    "METRICS_EXPORT_PORT_NAME",
    "RUNTIME_ENV_AGENT_PORT_NAME",
)
_NOT_IN_USE = -1
_TRIED = "2.60."
"""Versions in which nothing asks an agent: another Ray may wait for one in some place that is not known."""
_ENVIRONMENTS = ("RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR")  # the agent makes those named there


@contextlib.contextmanager
def without_unused_processes() -> Iterator[None]:
    """Have ``ray.init`` start no process that a job of distq has no use for.

    They take four seconds of processor time, and Ray waits for them two seconds as it starts and one as it
    ends. There is no public switch. What later versions of Ray name otherwise is started as before.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            module = importlib.import_module("ray._private.parameter")
            known = inspect.signature(module.RayParams).parameters
            ours = {name: value for name, value in _PARAMETERS.items() if name in known}
            replaced(stack, module, "RayParams", partial(module.RayParams, **ours))
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            replaced(stack, importlib.import_module("ray._private.node").Node, _DASHBOARD, _nothing)
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            _without_agents(stack)
        yield


def tried() -> bool:
    """Whether what is inside this version of Ray is known."""
    version: str = importlib.import_module("ray._version").version
    return version.startswith(_TRIED)


def _without_agents(stack: contextlib.ExitStack) -> None:
    """Have Ray start processes that do nothing in the place of its agents, and not wait for their ports.

    One agent gathers metrics and serves the dashboard, the other makes runtime environments. Ray itself ends
    when one of them does, so something has to be there.
    """
    if not tried() or any(name in os.environ for name in _ENVIRONMENTS):
        return
    node = importlib.import_module("ray._private.node").Node
    services, constants, utils, raylet = (
        importlib.import_module(name)
        for name in (
            "ray._private.services",
            "ray._private.ray_constants",
            "ray._private.utils",
            "ray._raylet",
        )
    )
    command, start = services._build_python_executable_command_memory_profileable, node.start_raylet
    agents = {getattr(constants, name) for name in _AGENTS}
    ports = [getattr(raylet, name) for name in _PORTS]
    persist = raylet.persist_port

    def command_or_idle(component: str, session: str, **named: Any) -> list[str]:  # noqa: ANN401  # Ray's own
        if component in agents:
            return [sys.executable, "-I", "-S", str(ray_idle.__file__), session]
        return list(command(component, session, **named))

    def start_with_ports(self: Any, *given: Any, **named: Any) -> None:  # noqa: ANN401  # Ray's node and arguments
        for port in ports:
            persist(self.get_session_dir_path(), self.node_id, port, _NOT_IN_USE)
        start(self, *given, **named)

    replaced(stack, constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", 0)
    replaced(stack, services, command.__name__, command_or_idle)
    replaced(stack, node, start.__name__, start_with_ports)
    # it loads what the dashboard needs, to tell the agent
    replaced(stack, utils, "get_dashboard_dependency_error", _nothing)


def replaced(stack: contextlib.ExitStack, owner: Any, name: str, new: object) -> None:  # noqa: ANN401  # a module or class of Ray
    """Set an attribute that is there until the stack is left."""
    stack.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, new)


def _nothing(*_: object, **__: object) -> None:
    pass
