"""Where the quantizers of a model stand, which tensors share one, and what stays float."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from distq.errors import ModelError, UsageError
from distq.graph.apart_add import with_float_bias
from distq.graph.channel_gates import find_gates, with_factors
from distq.graph.gate import ChannelGate
from distq.graph.kernel_tensors import Around, kernel_tensors, last_floats
from distq.graph.layers import Layer, float_name, saturating_follower
from distq.graph.neighbours import keeps_float
from distq.graph.no_layers import why_no_layers
from distq.graph.plan import Plan
from distq.graph.predicted import predicted
from distq.graph.quantizers import Quantizer, make_quantizers, with_bits, with_channels, with_settings
from distq.graph.reads import float_reads
from distq.graph.roles import Roles, constant_operands, find_roles
from distq.graph.settings import NOTHING_SET, Settings
from distq.graph.slow_groups import slow_groups
from distq.graph.subpixel import strides_of
from distq.graph.thin_front import thin_front
from distq.graph.uneven_channels import uneven_depthwise
from distq.graph.values import values_of
from distq.targets.operators import ABSORBING
from distq.targets.target import Scheme, Target

if TYPE_CHECKING:
    import onnx_ir as ir


def make_plan(
    model: ir.Model,
    target: Target,
    scheme: Scheme,
    *,
    int16: Collection[str] = (),
    tie: bool = True,
    only: Collection[str] | None = None,
    float_layers: Collection[str] = (),
    joined: Collection[tuple[str, str]] = (),
    settings: Settings = NOTHING_SET,
) -> Plan:
    """Place the quantizers.

    With placement ``everywhere`` every tensor that an integer kernel reads or writes is quantized, so that
    kernels follow one another on integers; with ``layer inputs`` only what compute layers read, and the rest
    runs in float between them.

    Args:
        model: in canonical form.
        target: where quantizers stand, and around which operators.
        scheme: the one asked for; the target may take another.
        int16: names of tensors whose quantizer gets 16 bits.
        tie: share quantizers through operators that only pass values on, and let the last Gemm write float.
            Otherwise each tensor has a threshold of its own, as on the serial tuner's hardware.
        only: quantize these tensors and the nodes that write them alone and leave the rest float (the INT8
            prefix of the serial tuner).
        float_layers: names of layers that stay float: a quantizer that only they read is left out.
        joined: pairs of tensors that share a quantizer because the runtime has nothing between them; it is
            that of the second.
        settings: what the user set by layer.

    Raises:
        ModelError: nothing can be quantized.
        UsageError: what the user keeps in float leaves nothing to quantize, tensors of one quantizer have
            different settings, a name in ``int16`` is no quantized tensor, or the target has no 16 bits.
    """
    place = partial(
        _placed,
        model,
        target,
        scheme,
        int16=int16,
        tie=tie,
        only=only,
        float_layers=float_layers,
        joined=joined,
    )
    plan = place(settings=settings)
    if target.times is None or only is not None or not settings.float_if_faster:
        return plan
    decided = replace(settings, float_if_faster=False)
    for find in (_slow_groups, _faster_front):
        kept = find(model, plan)
        if kept:
            decided = replace(decided, floats=(*decided.floats, *kept))
            plan = place(settings=decided)
    kept = _uneven(model, plan)
    if kept:
        more = replace(decided, floats=(*decided.floats, *kept))
        other = place(settings=more)
        if _is_faster(model, other, plan):
            plan, decided = other, more
    return replace(plan, settings=decided)


def _slow_groups(model: ir.Model, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Grouped convolutions that stay float, as their integer kernels are slower."""
    times = plan.target.times
    return () if times is None else _unless_all(slow_groups(model, times), plan)


def _faster_front(model: ir.Model, plan: Plan) -> tuple[tuple[str, str], ...]:
    """What stays float at the input, where INT8 as a whole is predicted to be slower than float."""
    times = plan.target.times
    return _unless_all(thin_front(model, times), plan) if times and _is_slower(model, plan) else ()


def _uneven(model: ir.Model, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Depthwise convolutions that may stay float, where INT8 is predicted to be slower than float even so."""
    return _unless_all(uneven_depthwise(model), plan) if _is_slower(model, plan) else ()


def _is_slower(model: ir.Model, plan: Plan) -> bool:
    """Whether the INT8 network is predicted to take more time than float."""
    times = predicted(model, plan)
    return times is not None and times.int8 > times.in_float


def _is_faster(model: ir.Model, plan: Plan, other: Plan) -> bool:
    """Whether the INT8 network of a plan is predicted to take less time than that of another one."""
    times = [predicted(model, one) for one in (plan, other)]
    return times[0] is not None and times[1] is not None and times[0].int8 < times[1].int8


def _unless_all(found: tuple[tuple[str, str], ...], plan: Plan) -> tuple[tuple[str, str], ...]:
    """Those that are layers of the plan; none where no other is."""
    known = {layer.node for layer in plan.layers}
    kept = tuple(one for one in found if one[0] in known)
    return kept if len(kept) < len(known) else ()


def _placed(
    model: ir.Model,
    target: Target,
    scheme: Scheme,
    *,
    int16: Collection[str],
    tie: bool,
    only: Collection[str] | None,
    float_layers: Collection[str],
    joined: Collection[tuple[str, str]],
    settings: Settings,
) -> Plan:
    if int16:
        target.require_16_bits()
    scheme = target.scheme(scheme)
    able = target.writes_float if tie else target.writes_float - {"Gemm"}
    roles = find_roles(
        model.graph, replace(target, writes_float=able), only, float_layers, dict(settings.floats)
    )
    if not roles.layers and only is None:
        if settings.floats:
            raise UsageError(
                "what is kept in float leaves no layer in INT8: keep less of the network in float"
            )
        raise ModelError(why_no_layers(model.graph, target.layers))
    followers = {
        node: f
        for node in roles.integer
        if node.op_type in ABSORBING
        and not keeps_float(node, roles.integer, able)
        and (f := saturating_follower(node)) is not None
    }
    everywhere = target.placement == "everywhere"
    around = (
        kernel_tensors(roles, followers, scheme, settings.concat, able)
        if everywhere
        else Around(_layer_inputs(roles), [], set())
    )
    tensors = set(around.tensors)
    if everywhere and only is not None:  # also what float nodes write and only later layers read
        tensors.update(v for v in values_of(model.graph) if v.name in only)
    seconds = {second for _, second in joined}
    ties = [*(around.ties if tie else []), *_pairs(tensors, joined)]
    last = last_floats(roles, able) - tensors if everywhere and only is None else set()
    unknown = set(int16) - {v.name for v in tensors | last}
    if unknown:
        raise UsageError(f"{min(unknown)} is no quantized tensor and cannot have 16 bits")
    given, listed = (
        with_settings(with_bits(made, int16), dict(settings.thresholds))
        for made in (
            make_quantizers(model.graph, tensors, ties, seconds),
            make_quantizers(model.graph, last, (), seconds),
        )
    )
    quantizers = tuple(with_channels(given, dict(settings.channels)))
    kept = {f.name or "" for f in followers.values()}
    absorbed = target.absorbs_saturation and scheme == "auto"
    dropped = frozenset(kept - {f.name or "" for f in around.between}) if absorbed else frozenset[str]()
    floats: dict[str, str] = {}
    for node, why in roles.reasons.items():
        if node.name not in kept:
            floats.setdefault(float_name(node), why)
    layers = _as_exported(model, target, roles, quantizers)
    gates: tuple[ChannelGate, ...] = ()
    if target.channel_scales == "gates" and settings.channels:
        by_channel = [layer for layer in layers if layer.node not in settings.one_scale]
        found = find_gates(model.graph, target.kernels, by_channel, quantizers, floats)
        gates, quantizers = with_factors(found, quantizers, whole=only is None)
    operands = constant_operands(roles) if everywhere else ()
    unrounded = float_reads(roles, tensors, able) if everywhere else frozenset[tuple[str, str]]()
    return Plan(
        target,
        scheme,
        layers,
        quantizers,
        dropped,
        tuple(floats.items()),
        tie,
        tuple(joined),
        operands,
        settings,
        unrounded,
        gates,
        tuple(listed),
    )


def plan_again(
    plan: Plan,
    model: ir.Model,
    *,
    int16: Collection[str] = (),
    float_layers: Collection[str] = (),
    joined: Collection[tuple[str, str]] = (),
) -> Plan:
    """The plan of another form of a network, or with other choices; the rest is as it was.

    Args:
        plan: as it was.
        model: the form.
        int16: as :func:`make_plan` takes it.
        float_layers: the same.
        joined: further pairs.
    """
    pairs = (*plan.joined, *joined)
    return make_plan(
        model,
        plan.target,
        plan.scheme,
        int16=int16,
        tie=plan.tied,
        float_layers=float_layers,
        joined=pairs,
        settings=plan.settings,
    )


def _as_exported(
    model: ir.Model, target: Target, roles: Roles, quantizers: Collection[Quantizer]
) -> tuple[Layer, ...]:
    """The layers, in the form that the target's runtime takes best."""
    layers = tuple(roles.layers.values())
    if target.subpixel:
        layers = tuple(_as_subpixel(model, layer, quantizers) for layer in layers)
    return tuple(with_float_bias(model.graph, layers)) if target.placement == "everywhere" else layers


def _as_subpixel(model: ir.Model, layer: Layer, quantizers: Collection[Quantizer]) -> Layer:
    """A ConvTranspose as a sub-pixel convolution, where it reads and writes 8 bits and that is faster."""
    narrow = {tensor for q in quantizers if q.bits == 8 for tensor in q.tensors}
    return (
        replace(layer, subpixel=strides_of(model, layer))
        if narrow >= {layer.inputs[0], layer.name}
        else layer
    )


def _layer_inputs(roles: Roles) -> set[ir.Value]:
    return {
        v
        for node, layer in roles.layers.items()
        for v in node.inputs
        if v is not None and v.name in layer.inputs
    }


def _pairs(tensors: set[ir.Value], joined: Collection[tuple[str, str]]) -> list[tuple[ir.Value, ir.Value]]:
    """Pairs of names as values, where both have quantizers."""
    values = {value.name: value for value in tensors}
    return [(values[a], values[b]) for a, b in joined if a in values and b in values]
