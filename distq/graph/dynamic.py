"""Outputs whose shape depends on the data: two networks may give different numbers of boxes."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from distq.graph.values import captured, constant, is_float, reads, subgraphs

ALWAYS = frozenset({"NonMaxSuppression", "NonZero", "Unique", "Compress"})
"""Operators whose output has as many elements as their input's values say."""

SHAPE_INPUTS = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Range": (0, 1, 2),
    "Slice": (1, 2, 3, 4),
    "Pad": (1,),
    "Resize": (2, 3),
    "Upsample": (1,),
    "TopK": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Loop": (0, 1),
    "If": (0,),
}
"""Inputs whose values decide the shape of the output."""


def feeding_outputs_of_dynamic_shape(model: ir.Model) -> dict[int, list[tuple[ir.Node, int]]]:
    """What can be compared in place of such outputs: the inputs of the nodes that make their shape.

    Returns:
        Position of each network output whose shape depends on the data, and where the tensors in front of it
        are read: node and input, or behind the inputs what the node's graphs capture. Of several such nodes
        in a row the first counts.
    """
    computed = _computed(model.graph)
    sources = [node for node in model.graph if _makes_shapes(node, computed)]
    if not sources:
        return {}
    behind: dict[ir.Value, set[ir.Node]] = {}
    first: list[ir.Node] = []
    for node in model.graph:
        above = {source for value in reads(node) for source in behind.get(value, ())}
        if node in sources and not above:
            first.append(node)
            above = {node}
        for value in node.outputs:
            behind[value] = above
    found = {}
    for position, value in enumerate(model.graph.outputs):
        above = behind.get(value, set())
        if above and not _is_static(value):
            nodes = [node for node in first if node in above]
            found[position] = [place for node in nodes for place in _data_of(node)]
    return {position: places for position, places in found.items() if places}


def _computed(graph: ir.Graph) -> set[ir.Value]:
    """Values that follow from what the network is fed, not from its shape alone."""
    found = {value for value in graph.inputs if not value.is_initializer()}
    for node in graph:
        if node.op_type in {"Shape", "Size"} and not node.domain:
            continue
        if any(value in found for value in reads(node)):
            found.update(node.outputs)
    return found


def _makes_shapes(node: ir.Node, computed: set[ir.Value]) -> bool:
    """Whether the shape of a node's outputs depends on values."""
    if node.domain:
        return False
    if node.op_type in ALWAYS:
        return any(value in computed for value in node.inputs)
    if node.op_type == "If" and _branches_agree(node):
        return False
    positions = SHAPE_INPUTS.get(node.op_type, ())
    return any(node.inputs[i] in computed for i in positions if i < len(node.inputs))


def _branches_agree(node: ir.Node) -> bool:
    """Whether both branches of an If write outputs of the same shape."""
    ends = [[_sizes(value) for value in graph.outputs] for graph in subgraphs(node)]
    return all(None not in shapes and shapes == ends[0] for shapes in ends)


def _sizes(value: ir.Value) -> tuple[object, ...] | None:
    """Sizes, open ones by name; None where one is not known."""
    if value.shape is None or any(isinstance(d, ir.SymbolicDim) and d.value is None for d in value.shape):
        return None
    return tuple(value.shape)


def _data_of(node: ir.Node) -> Iterator[tuple[ir.Node, int]]:
    """Inputs that are no constants; of a node without a real one, as an If, also what its graphs capture."""
    inputs = places_of(node)
    real = any(map(is_float, filter(None, node.inputs)))
    for position, value in enumerate(inputs[: len(node.inputs)] if real else inputs):
        producer = None if value is None else value.producer()
        written_out = producer is not None and producer.op_type == "Constant"
        if value is not None and constant(value) is None and not written_out:
            yield node, position


def places_of(node: ir.Node) -> list[ir.Value | None]:
    """What a node reads, by position: its inputs, and behind them what its graphs capture."""
    return [*node.inputs, *captured(node)]


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)
