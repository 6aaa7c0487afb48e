"""A scale and zero point for each channel in front of depthwise layers, where the estimate says it pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.errors import UsageError
from distq.graph.depthwise import depthwise_inputs
from distq.graph.plan import Plan, Quantizer, plan_again
from distq.graph.probes import with_outputs
from distq.graph.quantizers import ChannelRange
from distq.quant.channel_factors import channel_gain
from distq.replica.float32 import ChannelRanges
from distq.run.context import Run
from distq.run.prepare import takes_channel_scales
from distq.stages.form import ChannelEnds, Form

LEAST_HEADROOM = 1.15
"""Times the largest value of a channel: one that ends at what few samples show clips on others."""

LEAST_GAIN = 10**0.6
"""Estimated noise of one scale over that of scales by channel, 6 dB: what promises less keeps one scale."""

MOST_SAMPLES = 1024
"""Samples that channels are measured on."""

Floats = npt.NDArray[np.float64]


def with_channel_scales(run: Run, form: Form) -> Form:
    """The form with the ranges of channels in its plan, where the target takes them and the user wants them.

    Those of ``--table`` are in its plan already.

    Raises:
        UsageError: the user asks for them, and a table says what has them.
    """
    options = run.options
    if options.table is not None and options.channel_scales:
        raise UsageError("--table says what has scales by channel: leave out --channel-scales or --table")
    if options.table is not None or not takes_channel_scales(options, form.plan.target):
        return form
    weights = depthwise_inputs(form.model, form.plan)
    quantizers = [q for q in form.plan.quantizers if q.name in weights]
    missing = [q for q in quantizers if q.name not in form.channel_ranges]
    form = replace(form, channel_ranges={**form.channel_ranges, **_measured(run, form, missing)})
    chosen: dict[str, tuple[ChannelRange, ...]] = {}
    headroom = _headroom(len(run.selection.calibration[:MOST_SAMPLES]))
    for q in quantizers:
        ends = _with_headroom(form.plan, q, form.channel_ranges[q.name], headroom)
        if channel_gain(*ends, weights[q.name]) >= LEAST_GAIN:
            chosen[q.name] = tuple(
                (float(low), float(high)) for low, high in zip(*_filled(*ends), strict=True)
            )
    if missing and (chosen or options.channel_scales):
        run.reporter.line(
            f"channels: scales of their own for {len(chosen)} of {len(quantizers)} inputs of depthwise layers"
        )
    if not chosen:
        return form
    settings = replace(form.plan.settings, channels=tuple(chosen.items()))
    wide = [q.name for q in form.plan.quantizers if q.bits == 16]
    plan = plan_again(replace(form.plan, settings=settings), form.model, int16=wide)
    return replace(form, plan=plan)


def without_channel_scales(form: Form) -> Form:
    """The form with one scale for each tensor in its plan; itself where it has no others."""
    if not any(q.channels for q in form.plan.quantizers):
        return form
    settings = replace(form.plan.settings, channels=())
    wide = [q.name for q in form.plan.quantizers if q.bits == 16]
    return replace(form, plan=plan_again(replace(form.plan, settings=settings), form.model, int16=wide))


def _measured(run: Run, form: Form, quantizers: Sequence[Quantizer]) -> dict[str, ChannelEnds]:
    """Lower and upper end of each channel on the calibration samples, by quantizer."""
    if not quantizers:
        return {}
    tensors = tuple(q.name for q in quantizers)
    model = run.executor.share(with_outputs(form.model, tensors))
    samples = run.selection.calibration[:MOST_SAMPLES]
    units = [ChannelRanges(model, tensors, run.data, piece) for piece in run.shards(samples)]
    results = list(run.images("channel ranges", units))
    run.cost_so_far.fp32_forwards += len(run.readable(samples))
    found = {}
    for i, name in enumerate(tensors):
        low = np.min([r[f"{i}/low"].min(axis=0) for r in results], axis=0).astype(np.float64)
        high = np.max([r[f"{i}/high"].max(axis=0) for r in results], axis=0).astype(np.float64)
        found[name] = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return found


def _headroom(samples: int) -> float:
    """Times what so many samples show: the fewer they are, the further do others exceed it."""
    return max(LEAST_HEADROOM, 1.0 + 1.0 / math.sqrt(samples))


def _with_headroom(plan: Plan, quantizer: Quantizer, ends: ChannelEnds, headroom: float) -> ChannelEnds:
    """Ranges that other samples stay within."""
    low, high = headroom * ends[0], np.minimum(headroom * ends[1], max(quantizer.cap, 0.0))
    if plan.scheme == "symmetric":
        high = np.maximum(-low, high)
        low = -high
    return low, high


def _filled(low: Floats, high: Floats) -> ChannelEnds:
    """The same, with the range of the whole tensor for channels that are always zero."""
    still = high - low <= 0
    return np.where(still, low.min(), low), np.where(still, high.max(), high)
