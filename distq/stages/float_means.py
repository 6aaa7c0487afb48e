"""Mean outputs of layers in float, which corrected biases give back to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distq.graph.probes import stages, with_means
from distq.replica.float32 import LayerMeans
from distq.replica.worker import stable_sum
from distq.run.context import Run
from distq.stages.form import Form

MOST_IMAGES = 128
"""Means and covariances settle with fewer images than thresholds; more would only take longer."""


def all_with_float_means(run: Run, plain: Sequence[Form]) -> list[Form]:
    """The forms with float means, measured once for forms of one network.

    Without bias correction too: that is where samples that cannot be decoded are found.
    """
    measured: list[Form] = []
    for form in plain:
        known = next((other.means for other in measured if _same_means(form, other)), form.means)
        measured.append(with_float_means(run, form.with_means(known)))
    return measured


def with_float_means(run: Run, form: Form) -> Form:
    """The form with the mean output, (channels,) float64, of every layer that has a bias.

    Over the first calibration samples, in float; measured where they are not known yet.
    """
    if form.means is not None:
        return form
    layers = [layer for stage in stages(form.model, form.plan) for layer in stage]
    if not layers:
        return form.with_means({})
    model = run.executor.share(with_means(form.model, layers))
    names = tuple(layer.name for layer in layers)
    units = [LayerMeans(model, names, run.data, piece) for piece in run.shards(correction_samples(run))]
    results = list(run.images("float means", units))
    for result in results:
        run.skip_unreadable(result, run.data)
    run.cost_so_far.fp32_forwards += len(run.readable(correction_samples(run)))
    means = {
        name: stable_sum(rows) / len(rows)
        for i, name in enumerate(names)
        for rows in [np.concatenate([r[str(i)] for r in results if r[str(i)].size])]
    }
    return form.with_means(means)


def correction_samples(run: Run) -> Sequence[int]:
    """Samples that means and covariances are of, those that cannot be decoded among them."""
    return run.selection.calibration[:MOST_IMAGES]


def _same_means(form: Form, other: Form) -> bool:
    """Whether the means of one form's layers are also the other's: in float they are one network."""
    return form.model is other.model and stages(form.model, form.plan) == stages(other.model, other.plan)
