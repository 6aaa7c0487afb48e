"""What each node of a network is to its plan: a layer, another integer kernel, or float and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from distq.graph.groups import one_operation
from distq.graph.layers import Layer, compute_layer, connects, float_data, saturating_follower
from distq.graph.linear import bias_add, result_of
from distq.graph.neighbours import keeps_float, stranded
from distq.graph.scores import masked_scores
from distq.graph.values import constant, is_float, reads
from distq.targets.target import Target

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Roles:
    """The nodes of a network.

    Attributes:
        layers: those that INT8 carries, in graph order.
        integer: they, and what runs on integers between them.
        reasons: why the others stay float.
    """

    layers: dict[ir.Node, Layer]
    integer: frozenset[ir.Node]
    reasons: dict[ir.Node, str]


def find_roles(
    graph: ir.Graph,
    target: Target,
    only: Collection[str] | None,
    float_layers: Collection[str],
    floats: Mapping[str, str] = MappingProxyType({}),
) -> Roles:
    """Look at every node that writes a float tensor.

    Args:
        graph: of the network, in canonical form.
        target: which operators it carries.
        only: as :func:`distq.graph.placement.make_plan` takes it.
        float_layers: names of layers that a budget leaves in float.
        floats: nodes that the user keeps in float, by name, each with the reason.
    """
    nodes = [n for n in graph if any(map(is_float, n.outputs))]
    found = {node: compute_layer(node, target.layers) for node in nodes}
    layers = {node: layer for node, layer in found.items() if isinstance(layer, Layer)}
    reasons = {node: why for node, why in found.items() if isinstance(why, str)}
    kept = {node: floats[node.name or ""] for node in nodes if node.name in floats}
    kept |= {f: why for n, why in kept.items() if n in found and (f := saturating_follower(n)) is not None}
    kept |= {part: why for node, why in kept.items() for part in _with_bias(node)}
    layers = {node: layer for node, layer in layers.items() if node not in kept}
    reasons |= kept
    behind = _reached(nodes, layers)
    ahead = leading(nodes, layers)
    masked = masked_scores(nodes)
    computing = {node for node in nodes if found[node] is not None}
    grouped = one_operation(nodes, computing) if target.placement == "everywhere" else set()
    biases = {layer.add for layer in layers.values()}
    integer = set(layers)
    for node in nodes:
        if node in layers or node in reasons or node.name in biases:
            continue
        if node not in ahead:
            reasons[node] = "behind the last layer of the network: post-processing in float"
        elif node not in behind:
            reasons[node] = "before the first layer of the network: pre-processing in float"
        elif (why := connects(node, target.kernels)) is not None:
            reasons[node] = why
        elif node in masked:
            reasons[node] = "scores and their mask go to a Softmax in float"
        elif node in grouped:
            reasons[node] = "part of one operation on a tensor, such as a normalization: computed in float"
        else:
            integer.add(node)
    alone = (
        stranded(integer, layers, grouped, target.writes_float) if target.placement == "everywhere" else {}
    )
    integer -= alone.keys()
    reasons |= alone
    for node in [node for node, layer in layers.items() if layer.name in float_layers]:
        del layers[node]
        integer.remove(node)
        reasons |= dict.fromkeys(_with_bias(node), "kept in float by --float-budget")
    if only is not None:
        integer = {node for node in integer if _is_within(node, layers.get(node), target, set(only), integer)}
        layers = {node: layer for node, layer in layers.items() if node in integer}
    in_order = {node: reasons[node] for node in nodes if node in reasons}
    return Roles(layers, frozenset(integer), in_order)


def _with_bias(node: ir.Node) -> list[ir.Node]:
    """A node, and the Add of its bias where it has one."""
    add = bias_add(node)
    return [node] if add is None else [node, add]


def _is_within(
    node: ir.Node, layer: Layer | None, target: Target, tensors: set[str], integer: Collection[ir.Node]
) -> bool:
    """Whether a node belongs to the part of the network whose quantizers are these tensors.

    A layer that writes float does when it reads one of them: one of two tensors that a MatMul multiplies is
    enough, as with either alone in INT8 it would run in float.
    """
    if target.placement == "layer inputs" or (
        layer is not None and keeps_float(node, integer, target.writes_float)
    ):
        return layer is not None and not tensors.isdisjoint(layer.inputs)
    written = (*node.outputs, result_of(node), (saturating_follower(node) or node).outputs[0])
    return not tensors.isdisjoint(value.name for value in written)


def _reached(nodes: list[ir.Node], layers: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes that depend on a layer."""
    values: set[ir.Value | None] = set()
    found = set()
    for node in nodes:
        if any(v in values for v in reads(node)):
            found.add(node)
        if node in found or node in layers:
            values.update(node.outputs)
    return found


def leading(nodes: list[ir.Node], layers: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes that a layer depends on."""
    values: set[ir.Value | None] = set()
    found = set()
    for node in reversed(nodes):
        if any(v in values for v in node.outputs):
            found.add(node)
        if node in found or node in layers:
            values.update(reads(node))
    return found


def data_of(node: ir.Node, roles: Roles) -> list[ir.Value]:
    """The tensors that an integer node reads and that have a quantizer of their own."""
    if node not in roles.layers:
        return [v for v in float_data(node) if constant(v) is None]
    return [v for v in node.inputs if v is not None and v.name in roles.layers[node].inputs]


def constant_operands(roles: Roles) -> tuple[tuple[str, int], ...]:
    """Constants that integer kernels without weights read."""
    return tuple(
        (node.name or "", position)
        for node in sorted(roles.integer - roles.layers.keys(), key=lambda node: node.name or "")
        for position, value in enumerate(node.inputs)
        if value in float_data(node) and constant(value) is not None
    )
