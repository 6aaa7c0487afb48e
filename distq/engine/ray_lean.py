"""A Ray for one job: without what shows it to people and makes it grow."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

_PARAMETERS = {
    "no_monitor": True,  # asks clouds for nodes
    "include_log_monitor": False,  # prints what workers write, which is switched off
    "dashboard_agent_listen_port": 0,  # any; Ray's own, where another Ray has it, is tried for four seconds
}
_DASHBOARD = "start_api_server"  # starts a process also where no dashboard is wanted, and waits for it


@contextlib.contextmanager
def without_unused_processes() -> Iterator[None]:
    """Have ``ray.init`` start no process that a job of distq has no use for.

    They take two seconds of processor time, and Ray waits for them a second as it starts and one as it ends.
    There is no public switch. What later versions of Ray name otherwise is started as before.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            module = importlib.import_module("ray._private.parameter")
            known = inspect.signature(module.RayParams).parameters
            ours = {name: value for name, value in _PARAMETERS.items() if name in known}
            _replace(stack, module, "RayParams", partial(module.RayParams, **ours))
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            _replace(stack, importlib.import_module("ray._private.node").Node, _DASHBOARD, _start_nothing)
        yield


def _replace(stack: contextlib.ExitStack, owner: Any, name: str, new: object) -> None:  # noqa: ANN401  # a module or class of Ray
    """Set an attribute that is there until the stack is left."""
    stack.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, new)


def _start_nothing(*_: object, **__: object) -> None:
    pass
