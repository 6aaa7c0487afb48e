"""What the runs of a sweep have in common: workers, and what the float network gives on the samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from distq.engine.executor import Executor
from distq.engine.journal import Journal
from distq.engine.sharing import SharingExecutor
from distq.replica.float32 import ChannelRanges, LayerMeans, Observe, Outputs

FLOAT_UNITS = (Observe, LayerMeans, ChannelRanges, Outputs)
"""Units that run the float network alone: no threshold, scheme or method changes their results."""

_DEPENDS_ON = ("model", "data", "preprocess", "integer_instructions")


class SharedWork:
    """Lends its workers to one job after the other."""

    def __init__(self, executor: Executor, journal: Journal) -> None:
        self._executor = executor
        self._journal = journal
        self._lent: SharingExecutor | None = None

    def begin(self) -> None:
        """A job begins; it may need no workers."""
        self._lent = None

    def lend(self, identity: Mapping[str, Any]) -> SharingExecutor:
        """Workers for a job that knows results by its model, samples, preprocessing and device."""
        fields = {name: identity[name] for name in _DEPENDS_ON}
        scope = json.dumps({**fields, "device": self._executor.device}, sort_keys=True)
        self._lent = SharingExecutor(self._executor, self._journal, scope, FLOAT_UNITS)
        return self._lent

    def seconds_of(self, name: str) -> float:
        """What the shared results of a job that is over took when they were computed.

        Noted, so that a job that was finished before the sweep was resumed keeps its figure.

        Args:
            name: of the job that the workers were lent to last, or of one that needed none.
        """
        if self._lent is None:
            noted = [note for note in self._journal.notes("run") if note["name"] == name]
            return float(noted[-1]["shared_seconds"]) if noted else 0.0
        seconds = self._lent.saved_seconds
        self._journal.note("run", name=name, shared_seconds=seconds)
        return seconds

    def drop_large_results(self) -> None:
        """Free the disk when no further job needs what was computed so far."""
        self._journal.remove_parts()
