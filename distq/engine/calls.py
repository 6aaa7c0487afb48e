"""Calls that their caller can stop waiting for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

Result = TypeVar("Result")


class Call(Generic[Result]):
    """A call that another thread makes."""

    def __init__(self, make: Callable[[], Result]) -> None:
        self._make = make
        self._over = threading.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was asked for."""
        return time.monotonic() - self._began

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; whether it is over. Ctrl-C ends the wait."""
        return self._over.wait(seconds)

    @property
    def succeeded(self) -> bool:
        """Whether it is over and raised nothing."""
        return self._over.is_set() and self._error is None

    def result(self) -> Result:
        """What it returned, or raise what it raised; only when it is over."""
        if self._error is not None:
            raise self._error
        return cast("Result", self._result)

    def run(self) -> None:
        """Make the call, in the other thread."""
        try:
            self._result = self._make()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error
        self._over.set()


class Caller:
    """A thread that makes calls, one after the other; one that is stuck in a call is replaced by another."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call[Any] | None] | None = None

    def begin(self, make: Callable[[], Result]) -> Call[Result]:
        """Have a call made."""
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            threading.Thread(target=_make_all, args=(self._calls,), daemon=True, name="distq-calls").start()
        call = Call(make)
        self._calls.put(call)
        return call

    def leave(self) -> None:
        """Use the thread no more: it ends after the call that it is in, if that ever ends."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _make_all(calls: queue.SimpleQueue[Call[Any] | None]) -> None:
    while (call := calls.get()) is not None:
        call.run()
        del call  # its result belongs to who asked
