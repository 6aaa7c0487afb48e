"""One attempt at a unit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from data_helpers import image_input

from distq.data.dataset import DatasetSpec
from distq.engine.attempt import attempt
from distq.errors import DataError
from distq.replica.samples import read_samples
from distq.replica.side_by_side import samples_side_by_side
from distq.replica.worker import Arrays, Worker, WorkerSettings


@dataclass(frozen=True)
class Stops:
    """Raises an error while samples are decoded ahead and worked on."""

    data: DatasetSpec
    key: str = "stops"
    label: str = "stops"
    began: list[str] = field(default_factory=list)

    def run(self, worker: Worker) -> Arrays:
        samples = read_samples(worker, self.data, range(20))
        for _ in samples_side_by_side(worker, lambda sample: sample, samples):
            self.began.extend(own_threads())
            raise DataError("this one does not fit")
        return {}


def own_threads() -> set[str]:
    names = (thread.name for thread in threading.enumerate())
    return {name for name in names if name.startswith(("distq-decode", "distq-sample"))}


def test_no_thread_outlives_a_unit_that_fails_though_its_error_does(tmp_path: Path) -> None:
    """The error holds the frames that have begun them."""
    before = own_threads()
    np.save(tmp_path / "rows.npy", np.zeros((20, 3, 4), np.float32))
    unit = Stops(DatasetSpec(str(tmp_path / "rows.npy"), (image_input(3, 4),)))
    settings = WorkerSettings(decode_threads=2, together=2)
    error = attempt(unit, Worker(settings, lambda blob: bytes(blob.handle)))
    assert isinstance(error, DataError)
    assert len(unit.began) >= 2
    assert own_threads() <= before
