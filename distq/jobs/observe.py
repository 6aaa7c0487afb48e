"""Gather the distributions of a model's tensors, or take them from a file."""

from __future__ import annotations

from pathlib import Path

from distq.calibration.bundle import unpack
from distq.calibration.distributions import DistributionSet
from distq.calibration.histogram import Distribution
from distq.data.shards import shard
from distq.errors import DataError
from distq.graph.probes import with_outputs
from distq.jobs.context import Job
from distq.replica.float32 import Observe

LARGE_SHARD, ENOUGH_UNITS = 32, 8
"""A unit's result is as large whatever it counted: so larger ones, while there are enough."""


def observe(job: Job) -> dict[str, Distribution]:
    """One float pass over the calibration samples; counts are merged in unit order.

    Raises:
        DataError: an unreadable sample too many, or NaN or inf in a tensor.
    """
    tensors = tuple(q.name for q in job.plan.quantizers)
    model = job.executor.share(with_outputs(job.loaded.model, tensors))
    images = job.readable(job.selection.calibration)
    pieces = shard(images, max(job.options.shard_size, min(LARGE_SHARD, len(images) // ENOUGH_UNITS)))
    units = [Observe(model, tensors, job.data, indices) for indices in pieces]
    found = {name: Distribution.empty() for name in tensors}
    for result in job.images("calibrate", units):
        job.skip_unreadable(result, job.data)
        for distribution, more in zip(found.values(), unpack(result), strict=True):
            distribution.add(more)
    counted = len(job.readable(job.selection.calibration))
    if not counted:
        raise DataError("no calibration sample could be decoded: mend the data")
    job.cost_so_far.fp32_forwards += counted
    return found


def load_distributions(path: Path, identity: dict[str, str]) -> dict[str, Distribution]:
    """Distributions from a file that belongs to the same model, samples and preprocessing.

    Raises:
        FileFormatError: damaged, or of something else; the message names the field.
    """
    loaded = DistributionSet.load(path)
    loaded.require_same(identity or loaded.identity)
    return loaded.tensors
