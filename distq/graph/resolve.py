"""What a user calls a layer: its output tensor, or its node."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from distq.errors import UsageError
from distq.graph.named import matching, nearest, nodes_by_name, with_aliases
from distq.graph.plan import Plan
from distq.graph.site import EQUALIZED
from distq.targets.operators import PASS_THROUGH


def tensors_by_name(model: ir.Model, plan: Plan) -> dict[str, str]:
    """The tensor with a threshold that each name means: of a tensor, a node, or a layer's output.

    Where a layer's output has no quantizer of its own, it is the one behind it that holds its values.
    """
    reach = {tensor: tensor for tensor in plan.row_of}
    for node in reversed(list(model.graph)):
        outputs = [v.name or "" for v in node.outputs]
        hit = next((reach[o] for o in outputs if o in reach), None)
        if hit is None:
            continue
        reach.setdefault(node.name or "", hit)
        passes = node.op_type in PASS_THROUGH | {"Relu", "Clip"} or (node.name or "").endswith(EQUALIZED)
        if passes and node.inputs[0] is not None:
            reach.setdefault(node.inputs[0].name or "", hit)
    return with_aliases(reach, plan.settings.aliases)


def resolve_names(model: ir.Model, plan: Plan, names: Iterable[str], option: str) -> tuple[str, ...]:
    """Quantizer names for layer names as users write them: a tensor, a node, or a layer's output.

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    reach, owners = tensors_by_name(model, plan), plan.row_of
    found = []
    for name in names:
        if name not in reach:
            if (why := why_in_float(model, plan, name)) is not None:
                raise UsageError(
                    f"{option} names {name}, which stays float ({why}): leave it out or quantize it"
                )
            raise UsageError(
                f"{option} names {name}, which is no quantized layer of the model{nearest(name, reach)}"
            )
        found.append(owners[reach[name]])
    return tuple(dict.fromkeys(found))


def why_in_float(model: ir.Model, plan: Plan, name: str) -> str | None:
    """What keeps the node of a name in float: an option, or what it is; None where nothing does."""
    node = nodes_by_name(model.graph, plan.settings.aliases).get(name)
    return None if node is None else dict(plan.settings.floats).get(node.name or "")


def layers_by_name(model: ir.Model, plan: Plan) -> dict[str, str]:
    """The compute layer that each name means: of a tensor, of a node, or of what is folded into it."""
    of_node = {layer.node: layer.name for layer in plan.layers}
    nodes = nodes_by_name(model.graph, plan.settings.aliases).items()
    known = {name: of_node[node.name] for name, node in nodes if node.name in of_node}
    return known | {
        name: layer.name for layer in plan.layers for name in (layer.node, layer.output, layer.name)
    }


def folded_into(model: ir.Model, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The other names of layers that are several nodes of the user's model, such as a Conv and its Relu."""
    nodes = {layer.name: layer.node for layer in plan.layers}
    others: dict[str, list[str]] = {}
    for name, layer in layers_by_name(model, plan).items():
        if name not in {layer, nodes[layer]}:
            others.setdefault(layer, []).append(name)
    return {layer: tuple(others[layer]) for layer in nodes if layer in others}


def resolve_layers(model: ir.Model, plan: Plan, names: Iterable[str], option: str) -> tuple[str, ...]:
    """Names of compute layers for what a user calls them, or for patterns of it (``fnmatch``).

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    known = layers_by_name(model, plan)
    found: dict[str, None] = {}
    for name in names:
        meant = matching(known, name)
        if not meant:
            raise UsageError(
                f"{option} names {name}, which is no compute layer of the model{nearest(name, known)}"
            )
        found.update(dict.fromkeys(known[one] for one in meant))
    return tuple(found)
