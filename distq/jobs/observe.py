"""Gather the distributions of a model's tensors, or take them from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np

from distq.calibration.bundle import unpack
from distq.calibration.distributions import DistributionSet
from distq.calibration.histogram import Distribution
from distq.data.shards import shard
from distq.engine.journal import Journal
from distq.errors import DataError
from distq.graph.probes import with_outputs
from distq.jobs.context import Job
from distq.replica.float32 import Observe, unreadable_arrays
from distq.replica.keys import content_key
from distq.replica.worker import Arrays

LARGE_SHARD, UNITS_OF_A_WORKER = 64, 2
"""A unit's result is as large whatever it counted: so larger ones, while each worker has so many of them."""

COUNTED, COUNTED_OF_SAMPLE = 1 << 19, 1024
"""Values of a tensor that are counted: about so many, of each sample as many, but not fewer than these."""

COUNTED_WHOLE = frozenset({"jsd"})
"""Methods that count all values: JSD's cuts differ by 1 %, and what chance adds to it is not known well."""

SUMMED = 64
"""Results that wait in the journal before their sum takes their place: a thousand would fill disks."""


@dataclass
class Sums:
    """What the first units counted, together, as the journal keeps it.

    Attributes:
        key: of the units that are in it.
        counts: a distribution a tensor.
        unreadable: samples that could not be decoded, and why.
    """

    key: str
    counts: list[Distribution]
    unreadable: Arrays

    def add(self, result: Arrays) -> None:
        """Add the result of the next unit."""
        for distribution, more in zip(self.counts, unpack(result), strict=True):
            distribution.add(more)
        self.unreadable = {n: np.concatenate([a, result[n]]) for n, a in self.unreadable.items()}

    def to_arrays(self) -> Arrays:
        """Plain arrays."""
        arrays = dict(self.unreadable)
        for position, distribution in enumerate(self.counts):
            arrays |= distribution.to_arrays(f"{position}/")
        return arrays

    @classmethod
    def known(cls, journal: Journal, keys: Sequence[str], tensors: int) -> tuple[int, Self]:
        """The sums of the most units that the journal has, and by how many keys; of none at first."""
        nothing = unreadable_arrays([])
        for position in reversed(range(len(keys))):
            arrays = journal.get(keys[position])
            if arrays is not None:
                counts = [Distribution.from_arrays(arrays, f"{i}/") for i in range(tensors)]
                return position + 1, cls(keys[position], counts, {name: arrays[name] for name in nothing})
        return 0, cls("", [Distribution.empty() for _ in range(tensors)], nothing)


def observe(job: Job, quantizers: Sequence[str] | None = None) -> dict[str, Distribution]:
    """One float pass over the calibration samples; counts are merged in unit order.

    Every so many units the journal gets their sum in place of their results.

    Args:
        job: the run.
        quantizers: whose tensors are observed; None: all.

    Raises:
        DataError: an unreadable sample too many, or NaN or inf in a tensor.
    """
    tensors = tuple(q.name for q in job.plan.quantizers if quantizers is None or q.name in quantizers)
    model = job.executor.share(with_outputs(job.loaded.model, tensors))
    images = job.readable(job.selection.calibration)
    counted = None
    if job.options.method not in COUNTED_WHOLE:
        counted = max(COUNTED_OF_SAMPLE, COUNTED // len(job.selection.calibration))
    workers = job.executor.workers
    enough = UNITS_OF_A_WORKER * workers
    pieces = shard(images, max(job.options.shard_size, min(LARGE_SHARD, len(images) // enough)), workers)
    units = [Observe(model, tensors, job.data, indices, counted) for indices in pieces]
    groups = [units[end - SUMMED : end] for end in range(SUMMED, len(units) + 1, SUMMED)]
    keys = list(accumulate(groups, _sum_key, initial=""))[1:]
    known, sums = Sums.known(job.journal, keys, len(tensors))
    job.skip_unreadable(sums.unreadable, job.data)
    job.tally.recalled += known * SUMMED
    for position, result in enumerate(job.images("calibrate", units[known * SUMMED :]), known * SUMMED + 1):
        job.skip_unreadable(result, job.data)
        sums.add(result)
        if position % SUMMED == 0:
            number = position // SUMMED - 1
            label = f"calibrate, up to sample {groups[number][-1].indices[-1]}"
            job.journal.record_unit(keys[number], label, sums.to_arrays())
            job.journal.forget([sums.key, *(unit.key for unit in groups[number])])
            sums.key = keys[number]
    counted = len(job.readable(job.selection.calibration))
    if not counted:
        raise DataError("no calibration sample could be decoded: mend the data")
    job.cost_so_far.fp32_forwards += counted
    return dict(zip(tensors, sums.counts, strict=True))


def _sum_key(before: str, group: Sequence[Observe]) -> str:
    return content_key("sum", before, [unit.key for unit in group])


def load_distributions(path: Path, identity: dict[str, str]) -> dict[str, Distribution]:
    """Distributions from a file that belongs to the same model, samples and preprocessing.

    Raises:
        FileFormatError: damaged, or of something else; the message names the field.
    """
    loaded = DistributionSet.load(path)
    loaded.require_same(identity or loaded.identity)
    return loaded.tensors
