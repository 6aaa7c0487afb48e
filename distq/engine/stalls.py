"""When a unit that does not come back is spoken of, and in which words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distq.activity import longest

_LOOK_SECONDS = 1.0

NOTICE_SECONDS = 20.0
"""A line says by then who has not answered; where units take longer, after twice the longest so far."""


class Stalls:
    """Knows how long units of a job take, and so when one is unusual."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._next = NOTICE_SECONDS

    def finished(self, seconds: float) -> None:
        """A unit took so long."""
        self._longest = max(self._longest, seconds)
        self._next = max(NOTICE_SECONDS, 2 * self._longest)

    def due(self, seconds: float) -> bool:
        """Whether a unit that has taken so long is to be spoken of now; the next time is twice as late."""
        if seconds < self._next:
            return False
        self._next = 2 * seconds
        return True


def stalled(where: str, label: str, seconds: float, at: tuple[str, float] | None, *, answers: bool) -> str:
    """One line about a worker.

    Args:
        where: host and process of the worker.
        label: of its unit.
        seconds: since the unit was given to it.
        at: what it says it is at, and for how long; None: nothing of which it keeps account.
        answers: whether its process answered when it was asked.
    """
    line = f"{where} has not answered for {seconds:.0f} s: {label}"
    if not answers:
        return f"{line}; its process does not answer either: it is stopped, or its node is out of reach"
    return line if at is None else f"{line}; for {at[1]:.0f} s it has been at {at[0]}"


@contextmanager
def watched(what: str, on_event: Callable[[str], None]) -> Iterator[None]:
    """Say now and then that what this process does inside the block is still going on, if it takes long."""
    over = threading.Event()
    began = time.monotonic()

    def look() -> None:
        stalls = Stalls()
        while not over.wait(_LOOK_SECONDS):
            seconds = time.monotonic() - began
            if stalls.due(seconds):
                at = longest()
                rest = f"; for {at[1]:.0f} s it has been at {at[0]}" if at else ""
                on_event(f"{what} has taken {seconds:.0f} s{rest}")

    threading.Thread(target=look, daemon=True, name="distq-watched").start()
    try:
        yield
    finally:
        over.set()
