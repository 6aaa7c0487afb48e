"""A Ray of the run's own, which starts while the driver looks at the network and the samples."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from distq.config import CommonOptions
from distq.engine.calls import Call, Caller
from distq.engine.executor import Pool

_LOOK_SECONDS = 0.1


class Starting:
    """Workers that are opened in a thread beside this one, where these are processes on this machine.

    They are for who takes them. Where nobody does they are closed at the end of the ``with`` block.

    Attributes:
        tell: takes one line for each lost worker; it may change while they start.
    """

    def __init__(
        self,
        options: CommonOptions,
        make: Callable[[Callable[[str], None]], Pool],
        tell: Callable[[str], None],
    ) -> None:
        """Nothing starts yet.

        Args:
            options: of the command.
            make: opens the workers, which tell what they are given of what becomes of them.
            tell: see above.
        """
        self.tell = tell
        elsewhere = options.address or os.environ.get("RAY_ADDRESS")
        self._beside = options.executor == "ray" and not elsewhere
        self._make = make
        self._caller = Caller()
        self._call: Call[Pool] | None = None
        self._left = threading.Event()

    def begin(self, *given: Path | None) -> None:
        """Have them opened, once, if that takes long enough to be worth a thread.

        Args:
            given: files and folders of the command. Where one is not there it is left to who takes the
                workers: who misspells a path does not wait for their end.
        """
        there = all(path.exists() for path in given if path is not None)
        if self._beside and there and self._call is None:
            self._call = self._caller.begin(self._open)

    def take(self) -> Pool:
        """The workers, which are the caller's to close.

        Raises:
            DistqError: they cannot be opened.
        """
        if self._call is None:
            return self._make(self.tell)
        call = self._waited_for(self._call)
        self._call = None
        return call.result()

    def _open(self) -> Pool:
        pool = self._make(self._told)
        if self._left.is_set():
            pool.close()
        return pool

    def _told(self, text: str) -> None:
        self.tell(text)

    def _waited_for(self, call: Call[Pool]) -> Call[Pool]:
        while not call.wait(_LOOK_SECONDS):
            pass
        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close what nobody took; who interrupts does not wait for it."""
        if self._call is not None and kind is not None and not issubclass(kind, Exception):
            self._left.set()
        elif self._call is not None:
            call = self._waited_for(self._call)
            if call.succeeded:
                call.result().close()
        self._caller.leave()
