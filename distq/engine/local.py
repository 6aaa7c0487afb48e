"""The executor without Ray: one worker in this process, units one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from distq.engine.attempt import attempt
from distq.engine.executor import Unit
from distq.errors import DistqError
from distq.graph.weight_files import content_key
from distq.replica.session import device_of
from distq.replica.worker import Arrays, Blob, Worker, WorkerSettings


class LocalExecutor:
    """Runs every unit in this process; a model's bytes are their own handle."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Take the device of the settings.

        Raises:
            UsageError: it is a GPU, and there is none that ONNX Runtime can use.
        """
        self.device = device_of(settings)
        self._worker = Worker(settings, fetch=_fetch)

    @property
    def workers(self) -> int:
        """Always 1."""
        return 1

    def share(self, data: bytes) -> Blob:
        """The bytes as a blob."""
        return Blob(content_key(data), data)

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[int, Arrays]]:
        """Run units in order and yield (position, result) after each.

        Raises:
            ExecutionError: a unit raised what distq does not raise on purpose.
            DistqError: what a unit raised, unchanged.
        """
        for position, unit in enumerate(units):
            outcome = attempt(unit, self._worker)
            if isinstance(outcome, DistqError):
                raise outcome
            yield position, outcome

    def forget(self) -> None:
        """Nothing: the units hold the bytes."""

    def split(self, parts: int, stopping: threading.Event) -> list[Self]:
        """Itself: one worker cannot be dealt out."""
        del parts, stopping
        return [self]

    def hand_over(self, to: Self) -> None:
        """Nothing: there is no other."""

    def close(self) -> None:
        """Forget what the worker kept."""
        self._worker = Worker(self._worker.settings, fetch=_fetch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fetch(blob: Blob) -> bytes:
    data: bytes = blob.handle
    return data
