"""What a user calls a layer: its output tensor, or its node."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from distq.errors import UsageError
from distq.graph.equalize import EQUALIZED
from distq.graph.named import nearest, nodes_by_name, with_aliases
from distq.graph.plan import Plan
from distq.targets.operators import PASS_THROUGH


def tensors_by_name(model: ir.Model, plan: Plan) -> dict[str, str]:
    """The quantized tensor that each name means: of a tensor, a node, or a layer's output.

    Where a layer's output has no quantizer of its own, it is the one behind it that holds its values.
    """
    reach = {tensor: tensor for q in plan.quantizers for tensor in q.tensors}
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
    reach, owners = tensors_by_name(model, plan), plan.by_tensor
    found = []
    for name in names:
        if name not in reach:
            raise UsageError(
                f"{option} names {name}, which is no quantized layer of the model{nearest(name, reach)}"
            )
        found.append(owners[reach[name]].name)
    return tuple(dict.fromkeys(found))


def resolve_layers(model: ir.Model, plan: Plan, names: Iterable[str], option: str) -> tuple[str, ...]:
    """Names of compute layers for what a user calls them: an output tensor, a node, or one folded into it.

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    of_node = {layer.node: layer.name for layer in plan.layers}
    nodes = nodes_by_name(model.graph, plan.settings.aliases).items()
    known = {name: of_node[node.name] for name, node in nodes if node.name in of_node}
    known |= {name: layer.name for layer in plan.layers for name in (layer.node, layer.output, layer.name)}
    for name in names:
        if name not in known:
            raise UsageError(
                f"{option} names {name}, which is no compute layer of the model{nearest(name, known)}"
            )
    return tuple(dict.fromkeys(known[name] for name in names))
