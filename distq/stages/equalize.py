"""Even out the channels of a network where that promises to pay, as another form of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from distq.config import TuneOptions
from distq.errors import UsageError
from distq.graph.equalize import equalized, reader_weight, sites
from distq.graph.placement import plan_again
from distq.graph.plan import Plan
from distq.graph.probes import with_outputs
from distq.graph.resolve import resolve_names
from distq.graph.site import Site
from distq.quant.channel_factors import ChannelWidths, Evened, even_out
from distq.replica.float32 import ChannelRanges
from distq.replica.worker import Arrays, stable_sum
from distq.run.context import Run
from distq.stages.float_means import with_float_means
from distq.stages.form import Form, Means
from distq.stages.observe import observe
from distq.stages.thresholds import calibrated_table, with_headroom

LEAST_PART = 0.05
"""Estimated part of the noise of all quantizers: networks under 0.03 gained nothing, those over 0.06 did."""

LEAST_PART_DEPTHWISE = 0.01
"""The same in front of depthwise layers: MobileNet promises 0.02 and gains 0.5 dB."""

MOST_WIDTHS = 1024
"""Samples that channels are measured on: the driver keeps a number for each sample and channel."""

METHOD = "mse"
"""Thresholds of an equalized network; those of the method that the search starts from are tried beside."""

EQUALIZING_EFFORT = 3
"""``--effort`` from which it is tried: correcting one or two more forms takes as long as searching one."""

Factors = Mapping[Site, tuple[Evened, tuple[float, ...]]]
"""The factors of each site, and the width of each of its tensors with them."""


def require_evening(options: TuneOptions) -> None:
    """Find out before anything is computed whether channels can be evened out where that is asked for.

    Raises:
        UsageError: other options rule it out.
    """
    if options.equalize and not _may_even_out(options):
        raise UsageError(
            "--equalize changes the network that the search begins with: it goes without --table, --layers, "
            "--ignore-layers, --no-bias-correction and other strategies than default"
        )


def evens_out(options: TuneOptions) -> bool:
    """Whether channels are evened out where that pays: as the user says, else from an effort on."""
    wanted = options.effort >= EQUALIZING_EFFORT if options.equalize is None else options.equalize
    return wanted and _may_even_out(options)


def _may_even_out(options: TuneOptions) -> bool:
    """Whether all thresholds are the search's: a given one is not one of another network."""
    given = options.table is not None or options.layers or options.ignore_layers
    return options.strategy == "default" and options.bias_correction and not given


def promising(found: Factors, quantizers: int) -> dict[str, Factors]:
    """The forms worth correcting, by what a person calls them; each meets what the one before left.

    Channels in front of depthwise layers alone, which costs the weights nothing, and all. By the estimates,
    a form takes away some part of all quantizers' noise; correcting it takes longer than searching a network.
    In a transformer the factors that constants take are tried before those that a multiplication takes behind
    a GELU: where few values are a hundred times the others, single samples can be far worse with these.

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
    if first >= LEAST_PART_DEPTHWISE:
        tried["evened out in front of depthwise layers"] = depthwise
    if both - first >= max(first, LEAST_PART):
        written = {site: factors for site, factors in found.items() if site.writers}
        if any(site.rows for site in written) and len(written) < len(found):
            tried["evened out without multiplications"] = written
        tried["evened out"] = found
    return tried


def evened_sites(run: Run, form: Form) -> Factors:
    """The sites where evening out pays by estimate from the calibration samples, with their factors."""
    model, found = form.model, sites(form.model, form.plan)
    measured = channel_widths(run, form, found)
    chosen = {}
    for site in found:
        tensors = [measured[name].of(columns) for name, columns in site.shown]
        weights = [reader_weight(model, site, reader) for reader in site.readers]
        evened = even_out(tensors, weights, depthwise=site.depthwise)
        if evened is not None:
            chosen[site] = evened, tuple(t.evened_width(evened) for t in tensors)
    return chosen


def channel_widths(run: Run, form: Form, found: Sequence[Site]) -> dict[str, ChannelWidths]:
    """Width of each channel on each of the first calibration samples, by the tensors that show them."""
    if not found:
        return {}
    samples = run.selection.calibration[:MOST_WIDTHS]
    bounds = {name: site.bound for site in found for name, _ in site.shown}
    tensors = tuple(bounds)
    model = run.executor.share(with_outputs(form.model, tensors))
    rows = tuple({name: None for site in found if site.rows for name, _ in site.shown})
    units = [ChannelRanges(model, tensors, run.data, piece, rows) for piece in run.shards(samples)]
    results = list(run.images("channel ranges", units))
    run.cost_so_far.fp32_forwards += len(run.readable(samples))
    return {name: _widths(form.plan, results, i, bounds[name]) for i, name in enumerate(tensors)}


def _widths(plan: Plan, results: Sequence[Arrays], position: int, bound: float) -> ChannelWidths:
    """Of the tensor at a position; a symmetric range is as wide as its larger side."""
    low, high, power = (
        np.concatenate([result[f"{position}/{part}"] for result in results]).astype(np.float64)
        for part in ("low", "high", "power")
    )
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    widths = np.maximum(-low, high) if plan.scheme == "symmetric" else high - low
    return ChannelWidths(widths, stable_sum(power) / len(power), bound)


def evened_form(run: Run, form: Form, chosen: Factors) -> Form:
    """The form on the equalized network; of the tensors that were observed those that are scaled are again.

    Its weights and biases are still to be corrected.
    """
    changed = equalized(form.model, {site: evened.factors for site, (evened, _) in chosen.items()})
    plan = plan_again(form.plan, changed)
    if form.plan.wide:
        names = resolve_names(changed, plan, sorted(form.plan.wide), "--int16-layers")
        plan = plan_again(form.plan, changed, int16=names)
    means = scaled_means(form.plan, with_float_means(run, form).means or {}, chosen)
    other = Form(changed, plan, means=means)
    scaled = {tensor for site in chosen for tensor in site.quantized}
    new = [
        q.name for q in plan.in_table if q.name not in form.distributions or not scaled.isdisjoint(q.tensors)
    ]
    distributions = {**form.distributions, **observe(run, other, new)}
    return evened_by(run, replace(other, distributions=distributions), chosen, METHOD)


def evened_by(run: Run, form: Form, chosen: Factors, method: str) -> Form:
    """An equalized form with another method's thresholds, and headroom where channels were scaled."""
    plan = form.plan
    table = calibrated_table(plan, form.distributions, method, run.options.bins)
    for site, (evened, widths) in chosen.items():
        for tensor, width in zip(site.quantized, widths, strict=True):
            quantizer = plan.by_tensor[tensor]
            row = table[quantizer.name]
            table[quantizer.name] = with_headroom(plan, quantizer, row, evened.headroom, width)
    return replace(form, table=table)


def scaled_means(plan: Plan, means: Means, chosen: Factors) -> Means:
    """Mean outputs of the layers once channels are scaled: those of layers that write them are divided."""
    found = dict(means)
    layers = {layer.node: layer.name for layer in plan.layers}
    for site, (evened, _) in chosen.items():
        for writer in site.writers:
            if layers.get(writer) in found:
                mean = found[layers[writer]].copy()
                mean[list(site.columns) or slice(None)] /= evened.factors
                found[layers[writer]] = mean
    return found
