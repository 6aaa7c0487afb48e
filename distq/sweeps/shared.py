"""What the runs of a sweep have in common: workers, and what the float network gives on the samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from distq.engine.executor import Executor
from distq.engine.journal import Journal
from distq.engine.sharing import SharingExecutor
from distq.replica.float32 import ChannelRanges, LayerMeans, Observe, Outputs

FLOAT_UNITS = (Observe, LayerMeans, ChannelRanges, Outputs)
"""Units that run the float network alone: no threshold, scheme or method changes their results."""

_DEPENDS_ON = ("model", "data", "preprocess", "integer_instructions")


class SharedWork:
    """Lends workers to one job."""

    def __init__(
        self,
        executor: Executor,
        journal: Journal,
        *,
        lock: AbstractContextManager[Any],
        used: set[str],
        all_workers: int,
    ) -> None:
        """Prepare for a job, which may need no workers.

        Args:
            executor: the workers, or those of them that are for this job.
            journal: of what the float network gave in earlier jobs.
            lock: held while the journal is used; other threads use it too.
            used: gets the journal's keys of what the job shares, before it looks for them.
            all_workers: of which the executor has a part.
        """
        self._executor = executor
        self._journal = journal
        self._lock = lock
        self._used = used
        self._all_workers = all_workers
        self._workers = executor.workers
        self._lent: SharingExecutor | None = None

    def lend(self, identity: Mapping[str, Any]) -> SharingExecutor:
        """Workers for a job that knows results by its model, samples, preprocessing and device."""
        fields = {name: identity[name] for name in _DEPENDS_ON}
        scope = json.dumps({**fields, "device": self._executor.device}, sort_keys=True)
        self._lent = SharingExecutor(
            self._executor,
            self._journal,
            scope,
            FLOAT_UNITS,
            lock=self._lock,
            used=self._used,
            all_workers=self._all_workers,
        )
        return self._lent

    def seconds(self, name: str, own: float) -> float:
        """What a job took of the sweep's workers: on a half of them an hour counts as half an hour.

        What was taken from earlier jobs counts as when it was computed. The sum is noted, so that a job that
        was finished before the sweep was resumed keeps its figure.

        Args:
            name: of the job.
            own: seconds that it ran.
        """
        with self._lock:
            if self._lent is None:
                noted = [note for note in self._journal.notes("run") if note["name"] == name]
                return float(noted[-1]["seconds"]) if noted else own
            workers = (self._workers + self._executor.workers) / 2  # more may have joined
            seconds = round(own * workers / self._all_workers + self._lent.saved_seconds, 3)
            self._journal.note("run", name=name, seconds=seconds)
            return seconds
