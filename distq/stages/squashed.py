"""Correct the bias of layers that a Sigmoid alone reads: give them the mean they have in float behind it.

Nearly all places of a detector's map are background. Restoring the mean in front of the Sigmoid restores
that of the background, and where rare large values were lost on the way it takes the objects with it. Behind
the Sigmoid the background is close to 0, and the mean is how many objects there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.data.shards import shard
from distq.graph.heads import squashed, with_places
from distq.replica.counts import CENTRES, ChannelCounts
from distq.replica.worker import Arrays
from distq.run.context import Run
from distq.stages.form import Form
from distq.stages.steps import Steps

LARGEST_SHIFT = 8.0
"""A bias is moved no further: what a channel lost by more than that is not a matter of its mean."""

HALVINGS = 30
"""Of the interval of shifts: down to 1e-8."""

COUNTED_TOGETHER = 32
"""Images of a unit, at most."""


def restore_squashed(run: Run, form: Form, corrected: Collection[str], indices: Sequence[int]) -> Steps[Form]:
    """The form with the biases of these layers moved so that the mean behind the Sigmoid is as in float.

    Args:
        run: gives workers.
        form: everything corrected as usual.
        corrected: names of the layers that were; others have been restored before.
        indices: samples to measure on.
    """
    found = [
        (layer, place)
        for layer, place in squashed(form.model, form.plan)
        if layer.name in form.state.biases and layer.name in corrected
    ]
    if not found:
        return form
    places = [place for _, place in found]
    axes = [-1 if layer.op == "MatMul" else 1 for layer, _ in found]
    wanted = yield from _counts(run, with_places(form.serialized, places), indices, axes)
    own = yield from _counts(run, with_places(form.exported, places), indices, axes)
    run.cost_so_far.fp32_forwards += len(indices)
    run.cost_so_far.int8_forwards += len(indices)
    biases = {
        layer.name: form.state.biases[layer.name] + shift_to_mean(own[str(i)], wanted[str(i)])
        for i, (layer, _) in enumerate(found)
    }
    return replace(form, state=form.state.with_biases(biases))


def shift_to_mean(counts: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What to add to each channel so that its mean behind a Sigmoid is that of another distribution.

    Args:
        counts: of each channel's values, (channels, bins) as :data:`~distq.replica.counts.CENTRES` has them.
        wanted: of the values whose mean is to be met, of the same shape.

    Returns:
        (channels,); within ``LARGEST_SHIFT``.
    """
    goal = _mean_behind(wanted, np.zeros(len(wanted)))
    low = np.full(len(counts), -LARGEST_SHIFT)
    high = -low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = _mean_behind(counts, middle) < goal
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    shift: npt.NDArray[np.float64] = (low + high) / 2
    return shift


def _mean_behind(counts: npt.NDArray[np.int64], shift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of the Sigmoid of shifted values, (channels,)."""
    behind = 1 / (1 + np.exp(-(CENTRES[None, :] + shift[:, None])))
    sums = np.array([np.sum(row) for row in counts * behind])
    mean: npt.NDArray[np.float64] = sums / np.maximum(counts.sum(axis=1), 1)
    return mean


def _counts(run: Run, model: bytes, indices: Sequence[int], axes: Sequence[int]) -> Steps[Arrays]:
    blob = run.executor.share(model)
    units = [ChannelCounts(blob, run.data, piece, axes) for piece in shard(indices, COUNTED_TOGETHER)]
    results = yield units
    return {name: np.sum([r[name] for r in results], axis=0) for name in results[0]}
