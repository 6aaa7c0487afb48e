"""Workers lent to one of several jobs, and results that all of them may use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from distq.engine.closing import Closing
from distq.engine.executor import Done, Executor, More, Unit, no_more
from distq.engine.journal import Journal
from distq.errors import FileFormatError
from distq.replica.keys import content_key
from distq.replica.worker import Arrays, Blob

_SECONDS = "seconds of the first run"


class SharingExecutor(Closing):
    """Runs units on another executor; results of some kinds are kept, and taken by later jobs of one scope.

    Attributes:
        saved_seconds: what the results taken took when they were computed, in seconds of all workers.
    """

    def __init__(
        self,
        executor: Executor,
        journal: Journal,
        scope: str,
        kinds: tuple[type, ...],
        *,
        lock: AbstractContextManager[Any] | None = None,
        used: set[str] | None = None,
        all_workers: int | None = None,
    ) -> None:
        """Borrow an executor.

        Args:
            executor: the owner closes it.
            journal: where results are kept.
            scope: what these results depend on besides what a unit's key says.
            kinds: units whose results are kept.
            lock: held while the journal is used, where jobs in other threads use it too.
            used: gets the journal's keys of what is kept or taken, before it is looked for.
            all_workers: of which the executor has a part; None: it has all.
        """
        self._executor = executor
        self._journal = journal
        self._scope = scope
        self._kinds = kinds
        self._lock = lock or nullcontext()
        self._all_workers = all_workers
        self.saved_seconds = 0.0
        self._used = set() if used is None else used

    @property
    def workers(self) -> int:
        """How many units run at the same time."""
        return self._executor.workers

    @property
    def device(self) -> str:
        """What all workers compute on."""
        return self._executor.device

    def share(self, data: bytes) -> Blob:
        """Give bytes to all workers."""
        return self._executor.share(data)

    def doing(self) -> Sequence[tuple[str, str]]:
        """What the workers are at."""
        return self._executor.doing()

    def peak_rss_mb(self) -> tuple[float, ...]:
        """Of the workers."""
        return self._executor.peak_rss_mb()

    def forget(self) -> None:
        """Free what was shared."""
        self._executor.forget()

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        """Yield (position, result): of what is kept in unit order, of the rest as each finishes.

        Raises:
            DistqError: as :meth:`Executor.run` does.
        """
        keys: list[str | None] = []
        kept: dict[int, str] = {}
        missing: list[int] = []
        wanted: list[Unit] = []
        finished: set[int] = set()

        def look() -> None:
            """Take in the units that were appended."""
            for position in range(len(keys), len(units)):
                key = self._key(units[position])
                keys.append(key)
                if key is not None and self._is_kept(key):
                    kept[position] = key
                else:
                    missing.append(position)
                    wanted.append(units[position])

        def more_missing() -> bool:
            before = len(wanted)
            while len(wanted) == before and more():
                look()
            return len(wanted) > before

        arriving = self._executor.run(wanted, more_missing)
        position = -1
        while position + 1 < len(units) or more():
            position += 1
            look()
            if position in kept:
                yield position, self._recall(kept[position], units[position])
                continue
            while position not in finished:  # nothing known is given out before what precedes it
                look()
                began = time.monotonic()
                index, arrays = next(arriving)
                arrived = missing[index]
                self._record(keys[arrived], units[arrived], arrays, time.monotonic() - began)
                wanted[index] = Done()
                finished.add(arrived)
                yield arrived, arrays

    def _is_kept(self, key: str) -> bool:
        with self._lock:
            self._used.add(key)
            return key in self._journal

    def close(self) -> None:
        """Hand the workers back."""
        self._executor.forget()

    def _key(self, unit: Unit) -> str | None:
        return content_key("shared", self._scope, unit.key) if isinstance(unit, self._kinds) else None

    def _record(self, key: str | None, unit: Unit, arrays: Arrays, seconds: float) -> None:
        if key is None:
            return
        part = self.workers / (self._all_workers or self.workers)
        with self._lock:
            self._journal.record_unit(key, unit.label, {**arrays, _SECONDS: np.array(seconds * part)})

    def _recall(self, key: str, unit: Unit) -> Arrays:
        with self._lock:
            arrays = self._journal.get(key)
        if arrays is None:
            raise FileFormatError(f"the sweep lost {unit.label} while it ran; start again with --resume")
        self.saved_seconds += float(arrays.pop(_SECONDS))
        return arrays
