"""What the units and the driver of a tuning job cost, recorded in one process: the unit costs of scaling.py.

All times are CPU seconds of the thread that spends them, so that a busy machine does not change them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import onnxruntime
from tuning_job import tune_options

import distq.engine.factory
import distq.engine.portions
from distq.config import TuneOptions
from distq.data.dataset import SourceDataset
from distq.engine.local import LocalExecutor
from distq.engine.progress import SilentReporter
from distq.jobs.tune import tune

PER_SAMPLE = frozenset({"Observe", "LayerMeans", "InputMoments", "ChannelRanges"})
"""Units that there are more of when there are more calibration samples."""


@dataclass
class UnitCost:
    """CPU seconds of one unit; ``rest`` is counting, comparing and packing, on the worker's CPU."""

    kind: str
    affinity: int | None
    images: int
    setup: float = 0.0  # opening sessions
    infer: float = 0.0
    decode: float = 0.0  # in threads beside it
    rest: float = 0.0
    driver: float = 0.0  # merging and noting its result


@dataclass
class RoundCost:
    """Units that were asked for together, and what the driver did before."""

    gap: float
    units: list[UnitCost] = field(default_factory=list)


@dataclass
class _Clock:
    """Seconds spent in sessions and in decoding since they were last asked for."""

    setup: float = 0.0
    infer: float = 0.0
    decode: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[float, float, float]:
        """What was spent, and start from nothing."""
        with self.lock:
            spent = self.setup, self.infer, self.decode
            self.setup = self.infer = self.decode = 0.0
        return spent


_clock = _Clock()
_session, _load = onnxruntime.InferenceSession, SourceDataset.load


class _TimedSession(_session):  # type: ignore[misc,valid-type]  # a class that ships no types
    def __init__(self, *arguments: Any, **options: Any) -> None:
        begun = time.thread_time()
        super().__init__(*arguments, **options)
        _clock.setup += time.thread_time() - begun

    def run(self, *arguments: Any, **options: Any) -> Any:
        begun = time.thread_time()
        found = super().run(*arguments, **options)
        _clock.infer += time.thread_time() - begun
        return found


def _timed_load(dataset: SourceDataset, index: int) -> Any:
    begun = time.thread_time()
    sample = _load(dataset, index)
    with _clock.lock:
        _clock.decode += time.thread_time() - begun
    return sample


class _Recorder(LocalExecutor):
    """The local executor, which writes down what every unit costs."""

    rounds: list[RoundCost]
    left = 0.0

    def run(self, units: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        begun = time.thread_time()
        here = RoundCost(gap=begun - _Recorder.left)
        if units:
            _Recorder.rounds.append(here)
        results = super().run(units)
        for unit in units:
            _clock.take()
            begun = time.thread_time()
            result = next(results)
            whole = time.thread_time() - begun
            setup, infer, decode = _clock.take()
            images = len(getattr(unit, "indices", ()))
            cost = UnitCost(
                type(unit).__name__, getattr(unit, "affinity", None), images, setup, infer, decode
            )
            cost.rest = max(0.0, whole - setup - infer)
            here.units.append(cost)
            _Recorder.left = time.thread_time()  # whoever asks for no more never comes back here
            yield result
            cost.driver = time.thread_time() - _Recorder.left


def record(network: str, folder: Path) -> list[RoundCost]:
    """Run a tuning job and return what it cost, round by round."""
    options: TuneOptions = tune_options(network, folder, executor="local", workers=1)
    _Recorder.rounds, _Recorder.left = [], time.thread_time()
    with (
        patch.object(onnxruntime, "InferenceSession", _TimedSession),
        patch.object(SourceDataset, "load", _timed_load),
        patch.object(distq.engine.factory, "LocalExecutor", _Recorder),
        patch.object(distq.engine.portions, "LEAST_PORTIONS", 8),  # as for up to eight workers
    ):
        tune(options, SilentReporter())
    return _Recorder.rounds
