"""A scale and zero point for each channel in front of depthwise layers, where the estimate says it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distq.errors import UsageError
from distq.graph.channel_gates import gates_of
from distq.graph.depthwise import depthwise_inputs
from distq.graph.placement import plan_again
from distq.graph.plan import Plan, Quantizer
from distq.graph.probes import with_outputs
from distq.graph.quantizers import ChannelRange
from distq.quant.channel_factors import channel_gain
from distq.quant.gate_factors import gate_scales
from distq.replica.float32 import ChannelRanges
from distq.run.context import Run
from distq.run.prepare import takes_channel_scales
from distq.stages.form import ChannelEnds, Form
from distq.stages.observe import observe

LEAST_HEADROOM = 1.15
"""Times the largest value of a channel: one that ends at what few samples show clips on others."""

LEAST_GAIN = 10**0.6
"""Estimated noise of one scale over that of scales by channel, 6 dB: what promises less keeps one scale."""

LEAST_GAIN_GATE = 3.0
"""Decibels of a channel where a SiLU or HardSwish is on the way."""

MOST_LEFT_GATE = 16.0
"""Decibels of noise above that of a scale and zero point of each channel's own, from which a depthwise layer
stays float: what it reads has one zero point for all channels on integers."""

TOO_UNLIKE = "channels in front of it are too unlike for one zero point in 8 bits"

MOST_SAMPLES = 1024
"""Samples that channels are measured on."""

Floats = npt.NDArray[np.float64]
Floated = tuple[tuple[str, str], ...]
"""Nodes that stay float, each with the reason."""


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
    found = (_by_gates if form.plan.target.channel_scales == "gates" else _by_quantizers)(run, form)
    chosen = found.chosen
    if found.measured and (chosen or options.channel_scales):
        run.reporter.line(
            f"channels: scales of their own for {found.count} of {found.of} inputs of depthwise layers"
        )
        if found.floats:
            run.reporter.line(
                f"{len(found.floats)} of these layers stay float: unlike channels, one zero point"
            )
    form = replace(form, channel_ranges=found.ends)
    if not chosen:
        return form
    plan = _planned(form, channels=tuple(chosen.items()), floats=found.floats)
    missing = [q.name for q in plan.in_table if q.name not in form.distributions]
    known = {**form.distributions, **(observe(run, replace(form, plan=plan), missing) if missing else {})}
    return replace(form, plan=plan, distributions={q.name: known[q.name] for q in plan.known(known)})


def _planned(
    form: Form, *, channels: tuple[tuple[str, tuple[ChannelRange, ...]], ...], floats: Floated = ()
) -> Plan:
    """The plan of a form with other ranges of channels, and more in float."""
    settings = form.plan.settings
    settings = replace(settings, channels=channels, floats=(*settings.floats, *floats))
    plan = replace(form.plan, settings=settings)
    wide = plan.wide
    if floats and wide:
        wide &= plan_again(plan, form.model).row_of.keys()
    return plan_again(plan, form.model, int16=wide)


@dataclass(frozen=True)
class _Chosen:
    """Tensors whose channels get scales of their own.

    Attributes:
        chosen: the ranges of their channels.
        ends: lower and upper end of each channel of all that came into question.
        count: inputs of depthwise layers that get such.
        of: how many came into question.
        measured: some were measured now.
        floats: nodes of layers that stay float for what they read, each with the reason.
    """

    chosen: Mapping[str, tuple[ChannelRange, ...]]
    ends: Mapping[str, ChannelEnds]
    count: int
    of: int
    measured: bool
    floats: Floated = ()


def _by_quantizers(run: Run, form: Form) -> _Chosen:
    """Inputs of depthwise layers where the estimate says that it pays."""
    weights = depthwise_inputs(form.model, form.plan)
    quantizers = [q for q in form.plan.quantizers if q.name in weights]
    ends, missing = _ends(run, form, [q.name for q in quantizers])
    chosen: dict[str, tuple[ChannelRange, ...]] = {}
    headroom = _headroom(len(run.selection.calibration[:MOST_SAMPLES]))
    for q in quantizers:
        own = _with_headroom(form.plan, q, ends[q.name], headroom)
        if channel_gain(*own, weights[q.name]) >= LEAST_GAIN:
            chosen[q.name] = _ranges(_filled(*own))
    return _Chosen(chosen, ends, len(chosen), len(quantizers), missing)


def _by_gates(run: Run, form: Form) -> _Chosen:
    """What goes in and what comes out of the SiLU and HardSwish in front of such layers."""
    plan = form.plan
    weights = depthwise_inputs(form.model, plan)
    found = [gate for gate in gates_of(form.model, plan) if gate.product in weights or not gate.readers]
    ends, missing = _ends(run, form, [name for gate in found for name in gate.tensors])
    chosen: dict[str, tuple[ChannelRange, ...]] = {}
    floats: list[tuple[str, str]] = []
    nodes = {layer.name: layer.node for layer in plan.layers}
    headroom = _headroom(len(run.selection.calibration[:MOST_SAMPLES]))
    for gate in found:
        if not gate.readers:
            low, high = _filled(headroom * ends[gate.data][0], headroom * ends[gate.data][1])
            chosen[gate.data] = _ranges((np.maximum(low, gate.cuts[-1][0]), high))
            continue
        data, product = (
            _filled(headroom * low, headroom * high) for low, high in (ends[gate.data], ends[gate.product])
        )
        product = np.maximum(product[0], gate.least), product[1]
        read = np.any([np.any(weight != 0, axis=1) for weight in weights[gate.product]], axis=0)
        scales = gate_scales(data, product, gate.cuts, read, symmetric=plan.scheme == "symmetric")
        if scales.gain >= LEAST_GAIN_GATE:
            chosen |= {gate.data: _ranges(scales.data), gate.product: _ranges(scales.product)}
            if scales.left >= MOST_LEFT_GATE and run.options.float_if_faster != "never":
                floats += [(nodes[reader], TOO_UNLIKE) for reader in gate.readers]
    if not floats or len(floats) == len(nodes):
        return _Chosen(chosen, ends, sum(gate.data in chosen for gate in found), len(found), missing)
    fewer = replace(form, plan=_planned(form, channels=(), floats=tuple(floats)), channel_ranges=ends)
    rest = _by_gates(run, fewer)
    return replace(rest, measured=missing, floats=(*floats, *rest.floats))


def _ends(run: Run, form: Form, tensors: Sequence[str]) -> tuple[dict[str, ChannelEnds], bool]:
    """Ends of the channels of tensors, and whether some were measured now."""
    missing = [name for name in tensors if name not in form.channel_ranges]
    return {**form.channel_ranges, **_measured(run, form, missing)}, bool(missing)


def _ranges(ends: ChannelEnds) -> tuple[ChannelRange, ...]:
    return tuple((float(low), float(high)) for low, high in zip(*ends, strict=True))


def without_channel_scales(form: Form) -> Form:
    """The form with one scale for each tensor in its plan; itself where it has no others."""
    if not any(q.channels for q in form.plan.quantizers):
        return form
    return replace(form, plan=_planned(form, channels=()))


def _measured(run: Run, form: Form, tensors: Sequence[str]) -> dict[str, ChannelEnds]:
    """Lower and upper end of each channel on the calibration samples, by tensor."""
    if not tensors:
        return {}
    model = run.executor.share(with_outputs(form.model, tensors))
    samples = run.selection.calibration[:MOST_SAMPLES]
    units = [ChannelRanges(model, tuple(tensors), run.data, piece) for piece in run.shards(samples)]
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
