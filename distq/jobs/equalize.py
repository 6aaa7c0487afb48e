"""Try the network with its channels evened out, and keep what is closest to float on the tuning images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.graph.equalize import Site, equalized, factors, sites
from distq.graph.plan import make_plan
from distq.graph.probes import with_outputs
from distq.graph.qdq import export
from distq.graph.resolve import resolve_names
from distq.graph.state import State
from distq.jobs.calibrate import corrected_state
from distq.jobs.compare import closest
from distq.jobs.context import Job
from distq.jobs.observe import observe
from distq.jobs.thresholds import calibrated_table
from distq.quant.table import Table
from distq.replica.float32 import ChannelRanges

LEAST_GAIN = 0.25
"""Ranges of single channels fit the samples they are from better than others: small gains do not last."""

METHOD = "mse"
"""Thresholds of an equalized network: no method is better once channels are alike."""

Ranges = Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]


def best_equalization(job: Job, table: Table, state: State) -> tuple[Job, Table, State]:
    """The job as it is, or on an equalized network that is significantly closer to float on tuning images.

    Two forms are tried in turn, the second against what the first left: channels in front of depthwise
    layers alone, which costs the weights nothing, and all. Each has its weights rounded and its biases
    corrected before it is compared: without, the errors that correction takes away decide.

    Args:
        job: the run.
        table: thresholds it would search from.
        state: what they became.
    """
    found = sites(job.loaded.model, job.plan.target)
    ranges = channel_ranges(job, found)
    depthwise = tuple(site for site in found if site.depthwise)
    best, label = (job, table, state), "as they are"
    for name, chosen in (("evened out in front of depthwise layers", depthwise), ("evened out", found)):
        if not chosen or (name == "evened out" and chosen == depthwise):
            continue
        choices, labels = (best, _equalized(job, chosen, ranges)), (label, name)
        models = [export(j.loaded.model, j.plan, s) for j, _, s in choices]
        taken = closest(job, "channels", models, labels, least_gain=LEAST_GAIN)
        best, label = choices[taken], labels[taken]
    return best


def channel_ranges(job: Job, found: Sequence[Site]) -> Ranges:
    """Smallest and largest value of each channel over the calibration samples, float64 (channels,) each."""
    if not found:
        return {}
    tensors = tuple(site.tensor for site in found)
    model = job.executor.share(with_outputs(job.loaded.model, tensors))
    units = [
        ChannelRanges(model, tensors, job.data, piece) for piece in job.shards(job.selection.calibration)
    ]
    results = list(job.images("channel ranges", units))
    job.cost_so_far.fp32_forwards += len(job.readable(job.selection.calibration))
    return {
        name: (
            np.min([r[f"{i}/low"] for r in results], axis=0).astype(np.float64),
            np.max([r[f"{i}/high"] for r in results], axis=0).astype(np.float64),
        )
        for i, name in enumerate(tensors)
    }


def _equalized(job: Job, chosen: Sequence[Site], ranges: Ranges) -> tuple[Job, Table, State]:
    model = job.loaded.model
    scales = {site: factors(model, site, *ranges[site.tensor]) for site in chosen}
    changed = equalized(model, scales)
    plan = make_plan(changed, job.plan.target, job.plan.scheme)
    wide = [q.name for q in job.plan.quantizers if q.bits == 16]
    if wide:
        names = resolve_names(changed, plan, wide, "--int16-layers")
        plan = make_plan(changed, job.plan.target, job.plan.scheme, int16=names)
    other = replace(job, loaded=replace(job.loaded, model=changed), plan=plan)
    table = calibrated_table(plan, observe(other), METHOD, job.options.bins)
    return other, table, corrected_state(other, table)
