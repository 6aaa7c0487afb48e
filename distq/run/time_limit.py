"""How long a command may take (``--time``), and how long its parts took so far.

With the time up nothing new begins. What the end needs, the report above all, is kept back, as measured in
the run itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distq.run.figures import Result

_SECONDS = {"s": 1, "m": 60, "h": 3600}

Clock = Callable[[], float]
"""Seconds since the command began."""


def stopwatch() -> Clock:
    """A clock that begins now."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def seconds_of(text: str | None) -> float:
    """Seconds of ``--time``, as ``90``, ``90s``, ``20m`` or ``1.5h``; without one there is no limit."""
    if text is None:
        return math.inf
    unit = _SECONDS.get(text[-1])
    return float(text) if unit is None else float(text[:-1]) * unit


class TimeEnd(Result):
    """What ``--time`` left out of a run that it ended.

    Attributes:
        time: as it was given.
        searched: tensors whose thresholds were searched; None where no search of tensors was left.
        of: of so many.
        left_out: other steps, for a person.
    """

    time: str
    searched: int | None = None
    of: int | None = None
    left_out: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for a person, with what to do for the rest."""
        tensors = "" if self.of is None else f"{self.searched} of {self.of} tensors are searched"
        others = f"left out: {', '.join(self.left_out)}" if self.left_out else ""
        done = "; ".join(filter(None, (tensors, others)))
        unit = " (seconds)" if self.time[-1:].isdigit() else ""
        return (
            f"--time {self.time}{unit} ended the run with the best so far"
            f"{f' ({done})' if done else ''}: --resume with a longer --time, or none, continues it"
        )


class TimeIsUp(Exception):  # noqa: N818  # it ends a search, and is no error
    """``--time`` leaves no time for new work."""


class TimeLimit:
    """The time of one command.

    Attributes:
        seconds: it may take; infinite without a limit.
        kept_back: seconds that the end needs.
        limited: whether work begins only while there is time for it.
        end: what the time left out; None: nothing so far.
    """

    def __init__(self, text: str | None = None, clock: Clock | None = None) -> None:
        """Take the time.

        Args:
            text: of ``--time``.
            clock: of the command; None: it begins now.
        """
        self._clock = clock or stopwatch()
        self.kept_back = 0.0
        self.limited = False
        self._whole = 0.0
        self.end: TimeEnd | None = None
        self._text, self.seconds = text, seconds_of(text)
        self._took: dict[type, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return self._clock()

    @property
    def left(self) -> float:
        """Seconds that new work may take; infinite without a limit."""
        return self.seconds - self.elapsed - self.kept_back

    @contextmanager
    def limit(self, seconds: float = 0.0) -> Iterator[None]:
        """Inside, work begins only while there is time for it; else :class:`TimeIsUp` is raised.

        Args:
            seconds: that all of it takes: without so much time none of it begins.
        """
        before, self.limited = self.limited, self._text is not None
        self._whole = seconds
        try:
            yield
        finally:
            self.limited, self._whole = before, 0.0

    def require(self, seconds: float = 0.0) -> None:
        """Find out whether there is time for what takes so many seconds.

        Raises:
            TimeIsUp: there is not.
        """
        if self.limited and self.left <= max(seconds, self._whole):
            raise TimeIsUp
        self._whole = 0.0

    def took(self, kind: type, seconds: float) -> None:
        """Remember what as many units of a kind took as workers take at a time."""
        self._took[kind] = seconds

    def expected(self, kind: type) -> float:
        """Seconds that the next of them may take; 0 where none was measured."""
        return self._took.get(kind, 0.0)

    def leave_out(self, what: str = "", *, searched: int | None = None, of: int | None = None) -> None:
        """Remember that the time ended the run, and what it left out.

        Args:
            what: a step, for a person; empty: none beside the rest of the search.
            searched: tensors whose search ended.
            of: of so many.
        """
        end = self.end or TimeEnd(time=self._text or "")
        skipped = (*end.left_out, what) if what else end.left_out
        tensors = {} if of is None else {"searched": searched, "of": of}
        self.end = end.model_copy(update={"left_out": skipped, **tensors})
