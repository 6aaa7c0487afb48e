"""Unit that times whole models on a worker, in turns, in the worker's own process."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime

from distq.data.dataset import DatasetSpec
from distq.replica.keys import content_key
from distq.replica.samples import kept_inputs
from distq.replica.session import shipped_session
from distq.replica.stopwatch import WARM
from distq.replica.worker import Arrays, Blob, Worker

ROUNDS = 10
"""Turns of each network."""

TURN_SECONDS, MOST_RUNS = 0.1, 50
"""A turn of the slowest model takes so long, and has no more forwards than these."""


@dataclass(frozen=True)
class Timing:
    """Time the forwards of models on one sample, opened as their user opens them.

    Alone of all units its result differs from run to run: the journal keeps what was measured, and what
    follows from it is then the same again.

    Attributes:
        models: as ONNX bytes, with the same inputs.
        data, index: the sample.
        rounds: turns of each model.
        device: that the workers compute on.
        threads: of a session.
    """

    models: tuple[Blob, ...]
    data: DatasetSpec
    index: int
    rounds: int
    device: str
    threads: int

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        hashes = [model.sha256 for model in self.models]
        place = (self.device, self.threads)
        return content_key("timing", hashes, self.data.source, self.index, self.rounds, *place)

    @property
    def label(self) -> str:
        """For a person."""
        return f"latency of {len(self.models)} networks"

    def run(self, worker: Worker) -> Arrays:
        """``seconds``: float64 (models, rounds), the fastest forward of each turn.

        What else the machine does makes forwards slower and never faster.
        """
        ((_, feeds),) = kept_inputs(worker, self.data, [self.index])
        settings = replace(worker.settings, threads=self.threads)
        sessions = [shipped_session(worker.fetch(model), settings) for model in self.models]
        values = dict(feeds)
        slowest = max(_turn(session, values, WARM).min() for session in sessions)
        runs = int(np.clip(TURN_SECONDS / max(slowest, 1e-6), 4, MOST_RUNS))
        turns = [[_turn(session, values, runs) for session in sessions] for _ in range(self.rounds)]
        return {"seconds": np.array(turns).min(axis=2).T}


def _turn(session: onnxruntime.InferenceSession, feeds: Arrays, runs: int) -> npt.NDArray[np.float64]:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)
