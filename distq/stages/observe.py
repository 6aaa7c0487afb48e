"""The distributions of a network's tensors: counted in one float pass, or taken from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from distq.exchange.text import listed
from distq.graph.probes import with_outputs
from distq.replica.float32 import Observe, unreadable_arrays
from distq.replica.keys import content_key
from distq.replica.worker import Arrays
from distq.run.context import Run
from distq.stages.form import Form

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


def with_distributions(run: Run, form: Form) -> Form:
    """The form with its distributions, which are also written: those given, or those of the samples.

    Of a file that was gathered with other options by layer, or for another target, what is there serves; what
    it lacks is gathered. With ``--table`` none are needed.
    """
    options = run.options
    if options.table is not None:
        return form
    identity = distribution_identity(run)
    if options.load_dist is not None:
        distributions = load_distributions(options.load_dist, identity)
        missing = [q.name for q in form.plan.quantizers if q.name not in distributions]
        if missing:
            run.warn(
                f"{options.load_dist} lacks {len(missing)} tensors that have a quantizer of their own "
                f"with these options; they are gathered from the samples: {listed(missing)}"
            )
            distributions |= observe(run, form, missing)
    else:
        distributions = observe(run, form)
    kept = DistributionSet(distributions, identity)
    kept.save(run.rundir.distributions)
    if options.dump_dist is not None:
        kept.save(options.dump_dist)
    return replace(form, distributions=distributions)


def distribution_identity(run: Run) -> dict[str, str]:
    """What a distribution file belongs to."""
    own, _ = run.manifests
    given = {"shape": dict(run.options.input_shape), "value": dict(run.options.input_value)}
    return {
        **{f"input {what}": str(own) for what, own in given.items() if own},
        "model": run.loaded.sha256,
        "data set": own.sha256,
        "samples": str(own.selected),
        "preprocessing": str(run.data.describe_preprocessing()),
    }


def observe(run: Run, form: Form, quantizers: Sequence[str] | None = None) -> dict[str, Distribution]:
    """One float pass over the calibration samples; counts are merged in unit order.

    Every so many units the journal gets their sum in place of their results.

    Args:
        run: gives workers and samples.
        form: the network.
        quantizers: whose tensors are observed; None: all.

    Raises:
        DataError: an unreadable sample too many, or NaN or inf in a tensor.
    """
    tensors = tuple(q.name for q in form.plan.in_table if quantizers is None or q.name in quantizers)
    model = run.executor.share(with_outputs(form.model, tensors))
    images = run.readable(run.selection.calibration)
    counted = None
    methods = {q.setting.method for q in form.plan.in_table if q.setting is not None}
    if COUNTED_WHOLE.isdisjoint({run.options.method, *methods}):
        counted = max(COUNTED_OF_SAMPLE, COUNTED // len(run.selection.calibration))
    workers = run.executor.workers
    enough = UNITS_OF_A_WORKER * workers
    size = max(run.shard_size(len(images)), min(LARGE_SHARD, len(images) // enough))
    pieces = shard(images, size, workers)
    units = [Observe(model, tensors, run.data, indices, counted) for indices in pieces]
    groups = [units[end - SUMMED : end] for end in range(SUMMED, len(units) + 1, SUMMED)]
    keys = list(accumulate(groups, _sum_key, initial=""))[1:]
    known, sums = Sums.known(run.journal, keys, len(tensors))
    run.skip_unreadable(sums.unreadable, run.data)
    run.tally.recalled += known * SUMMED
    for position, result in enumerate(run.images("calibrate", units[known * SUMMED :]), known * SUMMED + 1):
        run.skip_unreadable(result, run.data)
        sums.add(result)
        if position % SUMMED == 0:
            number = position // SUMMED - 1
            label = f"calibrate, up to sample {groups[number][-1].indices[-1]}"
            run.journal.record_unit(keys[number], label, sums.to_arrays())
            run.journal.forget([sums.key, *(unit.key for unit in groups[number])])
            sums.key = keys[number]
    counted = len(run.readable(run.selection.calibration))
    if not counted:
        raise DataError("no calibration sample could be decoded: mend the data")
    run.cost_so_far.fp32_forwards += counted
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
