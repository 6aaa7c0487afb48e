"""Unit that counts the values of tensors channel by channel, as a Sigmoid tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec
from distq.replica.float32 import open_session
from distq.replica.keys import content_key
from distq.replica.samples import kept_inputs
from distq.replica.side_by_side import side_by_side
from distq.replica.worker import Arrays, Blob, Worker

LIMIT, STEPS = 20, 16
"""Bins of 1/16 from -20 to 20: a Sigmoid is flat outside."""

CENTRES: npt.NDArray[np.float64] = np.arange(-LIMIT * STEPS, LIMIT * STEPS + 1) / STEPS


@dataclass(frozen=True)
class ChannelCounts:
    """Count the values of each channel of a model's outputs over some samples.

    Attributes:
        model: float or exported; its outputs are counted.
        data, indices: the samples.
        axes: along which each output has its channels.
    """

    model: Blob
    data: DatasetSpec
    indices: Sequence[int]
    axes: Sequence[int]

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("channel counts", self.model.sha256, self.data.source, self.indices, self.axes)

    @property
    def label(self) -> str:
        """For a person."""
        return f"channel counts, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """By the output's position: int64 (channels, len(CENTRES)), exact in any order of samples."""
        session = open_session(worker, self.model)
        found: Arrays = {}

        def count(sample: tuple[int, Arrays]) -> list[npt.NDArray[np.int64]]:
            return [counts_of(v, axis) for v, axis in zip(session.run(sample[1]), self.axes, strict=True)]

        for counts in side_by_side(worker, count, kept_inputs(worker, self.data, self.indices)):
            for i, own in enumerate(counts):
                found[str(i)] = found[str(i)] + own if str(i) in found else own
        return found


def counts_of(values: npt.NDArray[np.float32], axis: int = 1) -> npt.NDArray[np.int64]:
    """Values with channels along an axis in bins, (channels, bins)."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    bins = np.rint(np.clip(rows, -LIMIT, LIMIT) * STEPS).astype(np.int64) + LIMIT * STEPS
    offsets = np.arange(len(rows))[:, None] * CENTRES.size
    counted = np.bincount((bins + offsets).ravel(), minlength=len(rows) * CENTRES.size)
    return counted.reshape(len(rows), CENTRES.size)
