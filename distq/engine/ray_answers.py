"""Ray with a deadline: some of its calls never return where a raylet or Ray's head is stopped.

Every call goes through a thread that its caller can stop waiting for. After a while one line says that Ray
does not answer, then the call fails, and from then on Ray is not asked for anything any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from distq.engine.calls import Caller
from distq.engine.raylet import GONE, Raylet
from distq.errors import ExecutionError

Result = TypeVar("Result")

_CAUSE = "its raylet on this machine or its head is stopped or overloaded"
_SPEAK_SECONDS, _GIVE_UP_SECONDS = 20.0, 40.0  # after about a minute Ray ends the process, without a word
_LEAST_BYTES_A_SECOND = 20 << 20  # of a slow disk
_LEAVING_SECONDS = 10.0
"""To end actors and Ray itself: nobody waits for their answers."""


class BoundedRay:
    """The module ``ray``; what it has beside the calls here is reached as in the module."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401  # the module
        self.module = module
        self.silent = False
        """Whether a call has been given up."""
        self.on_event: Callable[[str], None] | None = None
        """Takes one line when Ray does not answer."""
        self.raylet: Raylet | None = None
        """What has to be there for any call, where that is known."""
        self._callers = threading.local()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the module has
        return getattr(self.module, name)

    def init(self, **options: Any) -> None:  # noqa: ANN401  # Ray's own
        """``ray.init``; a new Ray may take long on a busy machine."""
        try:
            self._within(2 * _GIVE_UP_SECONDS, "init", partial(self.module.init, **options))
        except KeyboardInterrupt:
            self.silent = True  # it starts still, and would be waited for once more before it can be ended
            raise

    def nodes(self) -> Any:  # noqa: ANN401  # Ray's own
        """``ray.nodes``."""
        return self._within(_GIVE_UP_SECONDS, "nodes", self.module.nodes)

    def available_resources(self) -> Any:  # noqa: ANN401  # Ray's own
        """``ray.available_resources``."""
        return self._within(_GIVE_UP_SECONDS, "available_resources", self.module.available_resources)

    def put(self, value: object) -> Any:  # noqa: ANN401  # a Ray object reference
        """``ray.put``; large values may go to a disk."""
        writing = len(value) / _LEAST_BYTES_A_SECOND if isinstance(value, bytes) else 0.0
        return self._within(_GIVE_UP_SECONDS + writing, "put", partial(self.module.put, value))

    def get(self, references: Any, timeout: float = 0.0) -> Any:  # noqa: ANN401  # Ray's own
        """``ray.get`` of what is there; with ``timeout`` also of what takes so long."""
        call = partial(self.module.get, references, timeout=timeout or None)
        return self._within(timeout + _GIVE_UP_SECONDS, "get", call)

    def wait(self, references: Any, *, num_returns: int, timeout: float) -> Any:  # noqa: ANN401  # Ray's own
        """``ray.wait``."""
        call = partial(self.module.wait, references, num_returns=num_returns, timeout=timeout)
        return self._within(timeout + _GIVE_UP_SECONDS, "wait", call)

    def start_actor(self, make: Callable[[], Result]) -> Result:
        """What creates an actor, its placement group, or a task."""
        return self._within(_GIVE_UP_SECONDS, "remote", make)

    def end_actor(self, actor: Any) -> None:  # noqa: ANN401  # a Ray actor's handle
        """``ray.kill``."""
        self._within(_LEAVING_SECONDS, "kill", partial(self.module.kill, actor, no_restart=True))

    def end_group(self, group: Any) -> None:  # noqa: ANN401  # a Ray placement group
        """``ray.util.remove_placement_group``."""
        call = partial(self.module.util.remove_placement_group, group)
        self._within(_LEAVING_SECONDS, "remove_placement_group", call)

    def shutdown(self) -> bool:
        """``ray.shutdown``; whether it ended by itself."""
        try:
            self._within(_LEAVING_SECONDS, "shutdown", self.module.shutdown)
        except ExecutionError:
            return False
        return True

    def _within(self, seconds: float, name: str, call: Callable[[], Result]) -> Result:
        """Make a call of Ray's.

        Raises:
            ExecutionError: it did not return in time, or one before it did not; or there is nobody to answer.
        """
        if self.silent:
            raise _no_answer(name)
        if self.raylet is not None and self.raylet.gone:
            raise ExecutionError(GONE)
        if not hasattr(self._callers, "own"):
            self._callers.own = Caller()
        caller: Caller = self._callers.own
        made = caller.begin(call)
        if not made.wait(min(seconds, _SPEAK_SECONDS)):
            if self.on_event is not None and seconds > _SPEAK_SECONDS:
                self.on_event(f"Ray has not answered for {made.seconds:.0f} s (ray.{name}): {_CAUSE}")
            if seconds <= made.seconds or not made.wait(seconds - made.seconds):
                self.silent = True
                caller.leave()
                raise _no_answer(name)
        try:
            return made.result()
        except Exception as error:  # whatever Ray makes of a connection to a raylet that is killed meanwhile
            broken = isinstance(error, OSError)
            if self.raylet is not None and (self.raylet.ending() if broken else self.raylet.gone):
                raise ExecutionError(GONE) from error
            raise


def _no_answer(name: str) -> ExecutionError:
    return ExecutionError(
        f"Ray does not answer (ray.{name}): {_CAUSE}; have it started again, then continue with --resume"
    )
