"""Try other thresholds and evened-out channels, and keep what is closest to float on the tuning images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.calibration.histogram import Distribution
from distq.graph.equalize import Site, equalized, reader_weight, sites
from distq.graph.plan import Plan, make_plan
from distq.graph.probes import with_outputs
from distq.graph.qdq import export
from distq.graph.resolve import resolve_names
from distq.graph.state import State
from distq.jobs.calibrate import corrected_states
from distq.jobs.compare import choose, tuning_diffs
from distq.jobs.context import Job
from distq.jobs.correct import Means, float_means
from distq.jobs.observe import observe
from distq.jobs.thresholds import calibrated_table, with_headroom
from distq.quant.channel_factors import ChannelWidths, Evened, even_out
from distq.quant.table import Table
from distq.replica.float32 import ChannelRanges
from distq.replica.worker import Arrays, stable_sum
from distq.search.acceptance import beyond_chance, significant_improvement
from distq.search.metrics import mean_over_images

LEAST_GAIN = 0.1
"""Less than this on a few images may be none on others."""

LEAST_PART = 0.05
"""Estimated part of the noise of all quantizers: networks under 0.03 gained nothing, those over 0.06 did."""

MOST_WIDTHS = 1024
"""Samples that channels are measured on: the driver keeps a number for each sample and channel."""

METHOD = "mse"
"""Thresholds of an equalized network: no method is better once channels are alike."""

Factors = Mapping[Site, tuple[Evened, tuple[float, ...]]]
"""The factors of each site, and the width of each of its tensors with them."""


def best_form(
    job: Job,
    table: Table,
    state: State,
    start: Table,
    distributions: Mapping[str, Distribution],
    *,
    even: bool,
) -> tuple[Job, Table, State]:
    """The job as it was calibrated, from other thresholds, or on an equalized network.

    Each form has its weights rounded and its biases corrected before it is compared on the tuning images:
    without, the errors that correction takes away decide. Other thresholds have to be better beyond chance,
    and an equalized network clearly.

    Args:
        job: the run.
        table: its thresholds by its own method.
        state: what they became.
        start: thresholds it would rather search from, maybe the same.
        distributions: of its quantized tensors.
        even: whether channels may be evened out.
    """
    tried = promising(evened_sites(job), len(job.plan.quantizers)) if even else {}
    if even and not tried:
        job.reporter.line("channels: as they are, since evening them out promises too little")
    others = {} if start is table else {"as they are, other thresholds": (job, start)}
    evened = {label: evened_form(job, distributions, found) for label, found in tried.items()}
    labels, forms = ["as they are", *others, *evened], [(job, table), *others.values(), *evened.values()]
    if len(forms) == 1:
        return job, table, state
    states = [state, *corrected_states(forms[1:])]
    models = [export(form.loaded.model, form.plan, s) for (form, _), s in zip(forms, states, strict=True)]
    diffs = tuning_diffs(job, "choose channels", models)
    best = 0
    for other in range(1, len(forms)):
        better = _clearly_better if labels[other] in evened else beyond_chance
        pair = (best, other)
        taken = choose(job, "channels", [diffs[i] for i in pair], [labels[i] for i in pair], better)
        best = pair[taken]
    return *forms[best], states[best]


def promising(found: Factors, quantizers: int) -> dict[str, Factors]:
    """The forms worth correcting, by what a person calls them; each meets what the one before left.

    Channels in front of depthwise layers alone, which costs the weights nothing, and all. By the estimates,
    a form takes away some part of all quantizers' noise; correcting it takes longer than searching a network.

    Args:
        found: every site that pays.
        quantizers: of the network.
    """
    depthwise = {site: factors for site, factors in found.items() if site.depthwise}
    first, both = (
        sum((1 - 1 / evened.gain) * len(site.tensors) for site, (evened, _) in part.items()) / quantizers
        for part in (depthwise, found)
    )
    tried: dict[str, Factors] = {}
    if first >= LEAST_PART:
        tried["evened out in front of depthwise layers"] = depthwise
    if both - first >= max(first, LEAST_PART):
        tried["evened out"] = found
    return tried


def _clearly_better(candidate: npt.NDArray[np.float64], incumbent: npt.NDArray[np.float64]) -> bool:
    enough = mean_over_images(candidate) <= (1 - LEAST_GAIN) * mean_over_images(incumbent)
    return enough and significant_improvement(candidate, incumbent).accepted


def evened_sites(job: Job) -> Factors:
    """The sites where evening out pays by estimate from the calibration samples, with their factors."""
    model, found = job.loaded.model, sites(job.loaded.model, job.plan)
    measured = channel_widths(job, found)
    chosen = {}
    for site in found:
        tensors = [measured[name] for name in site.tensors]
        weights = [reader_weight(model, site, reader) for reader in site.readers]
        evened = even_out(tensors, weights, depthwise=site.depthwise)
        if evened is not None:
            chosen[site] = evened, tuple(t.evened_width(evened) for t in tensors)
    return chosen


def channel_widths(job: Job, found: Sequence[Site]) -> dict[str, ChannelWidths]:
    """Width of each channel on each of the first calibration samples, by tensor."""
    if not found:
        return {}
    samples = job.selection.calibration[:MOST_WIDTHS]
    bounds = {name: site.bound for site in found for name in site.tensors}
    tensors = tuple(bounds)
    model = job.executor.share(with_outputs(job.loaded.model, tensors))
    units = [ChannelRanges(model, tensors, job.data, piece) for piece in job.shards(samples)]
    results = list(job.images("channel ranges", units))
    job.cost_so_far.fp32_forwards += len(job.readable(samples))
    return {name: _widths(job.plan, results, i, bounds[name]) for i, name in enumerate(tensors)}


def _widths(plan: Plan, results: Sequence[Arrays], position: int, bound: float) -> ChannelWidths:
    """Of the tensor at a position; a symmetric range is as wide as its larger side."""
    low, high, power = (
        np.concatenate([result[f"{position}/{part}"] for result in results]).astype(np.float64)
        for part in ("low", "high", "power")
    )
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    widths = np.maximum(-low, high) if plan.scheme == "symmetric" else high - low
    return ChannelWidths(widths, stable_sum(power) / len(power), bound)


def evened_form(job: Job, known: Mapping[str, Distribution], chosen: Factors) -> tuple[Job, Table]:
    """The job on the equalized network; of the known tensors those that are scaled are observed again."""
    model = job.loaded.model
    changed = equalized(model, {site: evened.factors for site, (evened, _) in chosen.items()})
    plan = make_plan(changed, job.plan.target, job.plan.scheme)
    wide = [q.name for q in job.plan.quantizers if q.bits == 16]
    if wide:
        names = resolve_names(changed, plan, wide, "--int16-layers")
        plan = make_plan(changed, job.plan.target, job.plan.scheme, int16=names)
    means = scaled_means(job, float_means(job), chosen)
    other = replace(job, loaded=replace(job.loaded, model=changed), plan=plan, means=means)
    scaled = {tensor for site in chosen for tensor in site.quantized}
    new = [q.name for q in plan.quantizers if q.name not in known or not scaled.isdisjoint(q.tensors)]
    table = calibrated_table(plan, {**known, **observe(other, new)}, METHOD, job.options.bins)
    for site, (evened, widths) in chosen.items():
        for tensor, width in zip(site.quantized, widths, strict=True):
            quantizer = plan.by_tensor[tensor]
            row = table[quantizer.name]
            table[quantizer.name] = with_headroom(plan, quantizer, row, evened.headroom, width)
    return other, table


def scaled_means(job: Job, means: Means, chosen: Factors) -> Means:
    """Mean outputs of the layers once channels are scaled: those of layers that write them are divided."""
    found = dict(means)
    layers = {layer.node: layer.name for layer in job.plan.layers}
    for site, (evened, _) in chosen.items():
        for writer in site.writers:
            if layers.get(writer) in found:
                found[layers[writer]] = found[layers[writer]] / evened.factors
    return found
