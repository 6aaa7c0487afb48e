"""The options by layer, brought onto a network: its form, and the settings that its plan follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from distq.config import LayerOptions
from distq.errors import UsageError
from distq.graph.conv_groups import split, splits
from distq.graph.front_end import front_end
from distq.graph.islands import before, behind, block, is_depthwise
from distq.graph.layers import Layer, compute_layer
from distq.graph.load import LoadedModel
from distq.graph.named import matching, nodes_by_name, nodes_named
from distq.graph.plan import Plan
from distq.graph.resolve import tensors_by_name, why_in_float
from distq.graph.roles import find_roles
from distq.graph.scores import long_shares
from distq.graph.settings import Settings
from distq.quant.layer_config import QUANTIZER_KEYS, ThresholdSetting
from distq.run.entries import Entries
from distq.targets.target import Target

FRONT_END = "waves of a transform at the input, such as an STFT: in float unless --quantize-front-end"

SHARES = "an attention's product with long rows of shares: in float unless --quantize-shares"

_KINDS = {"threshold": "threshold", "min": "range", "max": "range", "method": "found", "scale": "found"}
"""What may not be set together for one tensor."""


def formed(
    loaded: LoadedModel, options: LayerOptions, entries: Entries, target: Target
) -> tuple[LoadedModel, Settings]:
    """The network with its convolutions in groups, and the settings of its layers.

    Args:
        loaded: as :func:`distq.graph.load.load_model` gives it.
        options: of the command.
        entries: of ``--layer-config``.
        target: that it is for.

    Raises:
        UsageError: a name means no layer, entries contradict, or the target has no place for a setting.
    """
    if options.float_if_faster == "measured" and not target.fused_kernels:
        raise UsageError(
            f"--float-if-faster measured times ONNX Runtime, not --target {target.name}: leave it out"
        )
    if options.concat != "auto" and target.placement != "everywhere":
        raise UsageError(
            f"--target {target.name} has no quantizers around a Concat: leave out --concat {options.concat}"
        )
    if options.channel_scales and target.channel_scales == "none":
        raise UsageError(
            f"--target {target.name} takes one scale a tensor: leave out --channel-scales, or take ort or "
            "openvino"
        )
    model = loaded.model
    known = nodes_by_name(model.graph, loaded.aliases)
    floats = _floats(model, options, entries, target, known)
    layers = _layers(model, target)
    weighted = {name for name, layer in layers.items() if layer.weight is not None}
    one_scale = set(weighted) if options.per_tensor_weights else set()
    with_weights = {name: node for name, node in known.items() if node.name in weighted}
    one_scale |= _set_for(entries, "weights", with_weights).keys()
    groups = dict.fromkeys(layers, options.conv_groups or 1)
    asked = _set_for(entries, "groups", {n: node for n, node in known.items() if splits(node)})
    groups.update((name, count) for name, count in asked.items() if isinstance(count, int))
    if any(count > 1 for count in groups.values()):
        model, made = split(model, groups, floats)
        one_scale = {part for name in one_scale for part in made.get(name, (name,))}
    settings = Settings(
        tuple(floats.items()),
        frozenset(one_scale),
        options.concat,
        aliases=loaded.aliases,
        float_if_faster=options.float_if_faster == "rule" and not options.quantize_front_end,
    )
    if model is not loaded.model:
        loaded = replace(loaded, model=model, ungrouped=loaded.model)
    return loaded, settings


def _layers(model: ir.Model, target: Target) -> dict[str, Layer]:
    """Compute layers by the names of their nodes."""
    found = ((node.name or "", compute_layer(node, target.layers)) for node in model.graph)
    return {name: layer for name, layer in found if isinstance(layer, Layer)}


def _floats(
    model: ir.Model, options: LayerOptions, entries: Entries, target: Target, known: Mapping[str, ir.Node]
) -> dict[str, str]:
    """Nodes that stay float, by name, each with the reason: the first of several."""
    found: dict[str, str] = {}
    for name, entry in entries.by_name.items():
        if entry.in_float:
            kept = [known[n] for n in entries.matched(name, known)]
            _keep(found, kept, entries.origin(name))

    def keep_around(option: str, names: Iterable[str], region: Callable[[ir.Node], list[ir.Node]]) -> None:
        for name, nodes in nodes_named(known, names, option).items():
            for node in nodes:
                _keep(found, region(node), f"{option} {name}")

    keep_around("--float-layers", options.float_layers, lambda node: [node])
    keep_around("--float-inputs", options.float_inputs, before)
    keep_around("--float-outputs", options.float_outputs, behind)
    if options.float_depthwise:
        _keep(found, filter(is_depthwise, model.graph), "--float-depthwise")
    if not options.quantize_front_end:
        _keep_unless_all(found, model, target, front_end(model.graph, target.layers), FRONT_END)
    if not options.quantize_shares:
        _keep_unless_all(found, model, target, long_shares(tuple(model.graph)), SHARES)
    integer = find_roles(model.graph, target, None, (), found).integer
    keep_around("--float-blocks", options.float_blocks, lambda node: block(node, integer))
    return found


def _keep_unless_all(
    found: dict[str, str], model: ir.Model, target: Target, nodes: Iterable[ir.Node], why: str
) -> None:
    """Keep what 8 bits serve badly, unless that is all there is."""
    names = {node.name or "" for node in nodes}
    if names and _layers(model, target).keys() - found.keys() - names:
        found.update((name, why) for name in names if name not in found)


def _keep(found: dict[str, str], nodes: Iterable[ir.Node], why: str) -> None:
    for node in nodes:
        found.setdefault(node.name or "", f"kept in float by {why}")


def _set_for(entries: Entries, key: str, known: Mapping[str, ir.Node]) -> dict[str, object]:
    """What entries set for nodes, by the names of these.

    Raises:
        UsageError: an entry matches none that can have it, or two give one node different values.
    """
    found: dict[str, tuple[object, str]] = {}
    for name, entry in entries.by_name.items():
        value = getattr(entry, key)
        if value is None:
            continue
        matched = entries.matched(name, known, f" that can have {key}")
        for node in dict.fromkeys(known[n].name or "" for n in matched):
            _note(found, node, key, value, name)
    return {node: value for node, (value, _) in found.items()}


def _note(found: dict[str, tuple[object, str]], what: str, key: str, value: object, entry: str) -> None:
    earlier = found.setdefault(what, (value, entry))
    if earlier[0] != value:
        raise UsageError(
            f"--layer-config: entries {earlier[1]} and {entry} give {what} {key} {earlier[0]} and {value}: "
            "leave one of them out"
        )


def with_thresholds(
    model: ir.Model, plan: Plan, entries: Entries, wide: tuple[str, ...]
) -> tuple[Settings, tuple[str, ...]]:
    """The plan's settings with what entries say of quantizers, and the tensors that get 16 bits.

    Args:
        model: that the plan is for.
        plan: without them.
        entries: of ``--layer-config``.
        wide: quantizers that get 16 bits by ``--int16-layers``.

    Raises:
        UsageError: an entry matches no quantizer, or entries or options contradict.
    """
    settings: dict[str, dict[str, tuple[object, str]]] = {}
    reach, unused = tensors_by_name(model, plan), []
    nodes = nodes_by_name(model.graph, plan.settings.aliases)
    for name, entry in entries.by_name.items():
        given = {key: value for key, value in entry.given.items() if key in QUANTIZER_KEYS}
        matched = matching(reach, name)
        if given and not matched and not entry.in_float:
            if entries.matched(name, nodes) and name not in entries.of_prototxt:
                if (why := why_in_float(model, plan, name)) is not None:
                    raise UsageError(
                        f"--layer-config: entry {name} sets {min(given)}, and it stays float ({why}): "
                        f"leave {min(given)} out or quantize it"
                    )
                raise UsageError(
                    f"--layer-config: entry {name} sets {min(given)}, and no quantizer stands behind it with "
                    f"--target {plan.target.name}: leave {min(given)} out"
                )
            unused.append(name)
        for tensor in dict.fromkeys(reach[n] for n in matched):
            if given and name in entries.of_prototxt:  # of layers that became one, the last writes the tensor
                settings.pop(tensor, None)
            for key, value in given.items():
                _note_tensor(settings, tensor, key, value, name)
    bits = {tensor: keys.pop("bits")[0] for tensor, keys in settings.items() if "bits" in keys}
    narrow, deep = ([tensor for tensor in bits if bits[tensor] == width] for width in (8, 16))
    _require_one_width(plan, narrow, deep, wide)
    found = replace(
        plan.settings,
        thresholds=tuple((tensor, _setting(keys)) for tensor, keys in settings.items() if keys),
        narrow=frozenset(narrow),
        unused=tuple(unused),
    )
    return found, tuple(dict.fromkeys((*wide, *deep)))


def _require_one_width(plan: Plan, narrow: Sequence[str], deep: Sequence[str], wide: Sequence[str]) -> None:
    """Refuse 8 and 16 bits for one quantizer.

    Args:
        plan: whose quantizers they are.
        narrow: tensors that get 8 bits by layer.
        deep: tensors that get 16.
        wide: quantizers that get 16 bits by ``--int16-layers``.

    Raises:
        UsageError: naming the tensor.
    """
    owners = plan.row_of
    shared = {owners[tensor] for tensor in deep}
    for tensor in narrow:
        if owners[tensor] in wide:
            raise UsageError(f"--int16-layers and --layer-config give {tensor} 16 and 8 bits: leave one out")
        if owners[tensor] in shared:
            raise UsageError(
                f"--layer-config gives {tensor} 8 bits, and 16 to a tensor that shares its threshold: "
                "leave one out"
            )


def _note_tensor(
    settings: dict[str, dict[str, tuple[object, str]]], tensor: str, key: str, value: object, entry: str
) -> None:
    own = settings.setdefault(tensor, {})
    for other, (_, earlier) in own.items():
        if other in _KINDS and key in _KINDS and _KINDS[other] != _KINDS[key]:
            raise UsageError(
                f"--layer-config: entries {earlier} and {entry} set {other} and {key} of {tensor}: "
                "leave one of them out"
            )
    found = {tensor: own[key]} if key in own else {}
    _note(found, tensor, key, value, entry)
    own[key] = found[tensor]


def _setting(keys: Mapping[str, tuple[object, str]]) -> ThresholdSetting:
    given = {key: value for key, (value, _) in keys.items()}
    limits = (given.pop("min"), given.pop("max")) if "min" in given else None
    return ThresholdSetting(**given, limits=limits)  # type: ignore[arg-type]  # checked by LayerEntry
