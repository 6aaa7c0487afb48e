"""Put the branch that is always taken in the place of its If."""

from __future__ import annotations

import onnx_ir as ir

from distq.graph.passes.tidy import drop_identity
from distq.graph.values import constant, names_in, subgraphs


def take_branches(graph: ir.Graph) -> bool:
    """Write out, in a graph, the branch of each If whose condition is a constant.

    Exporters write such an If for what a network decides by its shapes, as a squeeze does.

    Returns:
        Whether there was any.
    """
    found = [node for node in graph if _taken(node) is not None]
    for node in found:
        _write_out(graph, node)
    return bool(found)


def _taken(node: ir.Node) -> ir.Graph | None:
    if node.op_type != "If" or node.domain or not node.inputs:
        return None
    condition = constant(node.inputs[0])
    if condition is None or condition.size != 1:
        return None
    return node.attributes["then_branch" if condition.all() else "else_branch"].as_graph()


def _write_out(graph: ir.Graph, node: ir.Node) -> None:
    branch = _taken(node)
    if branch is None:
        return
    results, inside = list(branch.outputs), list(branch)
    branch.outputs.clear()
    branch.remove(inside)
    constants = list(branch.initializers.values())
    branch.initializers.clear()
    node.attributes.clear()
    _rename_apart(inside, constants, names_in(graph))
    for value in constants:
        graph.register_initializer(value)
    graph.insert_before(node, inside)
    for own, result in zip(list(node.outputs), results, strict=True):
        same = ir.node("Identity", [result])
        graph.insert_before(node, same)
        name, own.name = own.name, None
        same.outputs[0].name, same.outputs[0].type, same.outputs[0].shape = name, own.type, own.shape
        ir.convenience.replace_all_uses_with(own, same.outputs[0], replace_graph_outputs=True)
        drop_identity(same)
    graph.remove(node, safe=True)


def _rename_apart(nodes: list[ir.Node], constants: list[ir.Value], taken: set[str | None]) -> None:
    """Give values of a branch that come into a graph names that it does not have yet."""
    for value in _all_values(nodes, constants):
        name, number = value.name, 1
        while value.name in taken:
            value.name, number = f"{name}_{number}", number + 1
        if value.name:
            taken.add(value.name)


def _all_values(nodes: list[ir.Node], constants: list[ir.Value]) -> list[ir.Value]:
    """What nodes write, and constants, those of graphs inside the nodes included."""
    found = [*constants, *(value for node in nodes for value in node.outputs)]
    for inner in (g for node in nodes for g in subgraphs(node)):
        found += _all_values(list(inner), [*inner.initializers.values(), *inner.inputs])
    return found
