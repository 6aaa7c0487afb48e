"""Split a convolution's output channels by magnitude, so that each group has thresholds of its own.

Channels of small weights beside one of large weights have few steps where a layer has one scale. Groups of
alike channels are convolutions of their own: each has its own weight scale and its own activation thresholds.
A Concat puts their outputs together again, behind the Relu and behind depthwise layers, which read one
channel for each output and are split alike. (the tips for BM1684 call it ``-conv_group``)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer, new_node
from distq.graph.interface import Interface
from distq.graph.islands import is_depthwise
from distq.graph.layers import clip_bounds
from distq.graph.shapes import infer_shapes
from distq.graph.values import constant, names_in, only_reader

LEAST_CHANNELS = 8
"""Channels of a group at least: kernels of fewer are no faster."""

LEAST_GAIN = 0.25
"""Bits of a channel that parting has to win, on the mean."""

MOST_LOST = 8
"""Bits that a channel can lose."""

Channels = npt.NDArray[np.int64]


def splits(node: ir.Node) -> bool:
    """Whether a node is a Conv whose output channels can be parted: constant weights, one group."""
    if node.op_type != "Conv" or node.domain or node.attributes.get_int("group", 1) != 1:
        return False
    weight = constant(node.inputs[1])
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    fixed = not has_bias or constant(node.inputs[2]) is not None
    return weight is not None and weight.dtype == np.float32 and fixed


def split(
    model: ir.Model, wanted: Mapping[str, int], floats: Collection[str]
) -> tuple[ir.Model, dict[str, tuple[str, ...]]]:
    """A copy of the network with convolutions in groups; it computes the same.

    A convolution stays whole where its channels are alike or too few.

    Args:
        model: in canonical form.
        wanted: groups at most, by the name of a node that :func:`splits`.
        floats: nodes that stay float and are not split.

    Returns:
        The copy, and the nodes that each split node became, by its name.
    """
    copy = model.clone()
    graph, made = copy.graph, dict[str, tuple[str, ...]]()
    for node in list(graph):
        count = wanted.get(node.name or "", 1)
        if count < 2 or node.name in floats or not splits(node):
            continue
        chain = _chain(node, floats)
        groups = parted([w for n in chain if (w := _weight(n)) is not None], count)
        if len(groups) > 1:
            made |= _split(graph, chain, groups)
    if made:
        graph.sort()
        copy = infer_shapes(copy)
        Interface.of(model).restore(copy)
    return copy, made


def parted(weights: Sequence[npt.NDArray[np.floating]], count: int) -> list[Channels]:
    """Channels in groups of alike magnitude, the largest first; one group where parting gains too little.

    Beside a channel whose largest weight is M, one whose largest is m has 127 m / M steps: it loses
    log2(M / m) bits. Of all ways to part the channels, sorted by one of the layers, the one that loses least
    in all layers is taken.

    Args:
        weights: of the layers that are parted together, each (channels, ...).
        count: groups at most.
    """
    layers = [_bits(weight) for weight in weights]
    channels = len(layers[0])
    whole = [np.arange(channels)]
    count = min(count, channels // LEAST_CHANNELS)
    if count < 2:
        return whole
    ways = [_best_cuts(bits, count) for bits in layers]
    best = min(ways, key=lambda groups: _lost(layers, groups))
    gained = _lost(layers, whole) - _lost(layers, best)
    return best if gained >= LEAST_GAIN * channels * len(layers) else whole


def _bits(weight: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Magnitude of each channel, as a power of 2; of one that loses all its bits, no less than that."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1).astype(np.float64)
    found: npt.NDArray[np.float64] = np.log2(
        np.maximum(largest, max(largest.max(), 2.0**-100) / 2.0**MOST_LOST)
    )
    return found


def _lost(layers: Sequence[npt.NDArray[np.float64]], groups: Sequence[Channels]) -> float:
    return sum(float(np.sum(bits[group].max() - bits[group])) for bits in layers for group in groups)


def _best_cuts(bits: npt.NDArray[np.float64], count: int) -> list[Channels]:
    """So many groups of channels sorted by magnitude that least is lost, by dynamic programming."""
    order = np.argsort(-bits, kind="stable")
    largest, channels = bits[order], len(order)
    lost = np.full((count + 1, channels + 1), np.inf)  # [groups, first]: least of the channels from there on
    lost[0, channels] = 0.0
    ends = np.zeros((count + 1, channels + 1), np.int64)
    for groups in range(1, count + 1):
        for first in range(channels - LEAST_CHANNELS, -1, -1):
            later = np.arange(first + LEAST_CHANNELS, channels + 1)
            costs = (later - first) * largest[first] + lost[groups - 1, later]
            pick = int(np.argmin(costs))
            lost[groups, first], ends[groups, first] = costs[pick], later[pick]
    cuts = [0]
    for groups in range(count, 0, -1):
        cuts.append(int(ends[groups, cuts[-1]]))
    return [np.sort(order[a:b]) for a, b in pairwise(cuts)]


def _weight(node: ir.Node) -> npt.NDArray[np.floating] | None:
    return constant(node.inputs[1]) if node.op_type == "Conv" else None


def _chain(node: ir.Node, floats: Collection[str]) -> list[ir.Node]:
    """A Conv and what can be split with it behind it: Relu, Clip, and depthwise layers."""
    chain = [node]
    while (reader := only_reader(chain[-1].outputs[0])) is not None:
        depthwise = reader.name not in floats and _follows(reader, chain[-1])
        if not depthwise and clip_bounds(reader) is None:
            break
        chain.append(reader)
    return chain


def _follows(reader: ir.Node, node: ir.Node) -> bool:
    """Whether a depthwise layer has one output for each channel that it reads of a node."""
    if not is_depthwise(reader) or reader.inputs[0] is not node.outputs[0]:
        return False
    weight = constant(reader.inputs[1])
    has_bias = len(reader.inputs) > 2 and reader.inputs[2] is not None
    fixed = not has_bias or constant(reader.inputs[2]) is not None
    return fixed and weight is not None and len(weight) == reader.attributes.get_int("group", 1)


def _split(graph: ir.Graph, chain: list[ir.Node], groups: list[Channels]) -> dict[str, tuple[str, ...]]:
    """Put groups in place of a chain, and give the nodes that each of it became."""
    taken = names_in(graph)
    made: dict[str, list[str]] = {node.name or "": [] for node in chain}
    last = chain[-1]
    parts = []
    for number, channels in enumerate(groups):
        value: ir.Value | None = chain[0].inputs[0]
        for node in chain:
            ending = f"_group{number}"
            inputs = [value, *node.inputs[1:]]
            attributes = dict(node.attributes.items())
            if node.op_type == "Conv":
                for position in range(1, len(inputs)):
                    array = constant(inputs[position])
                    if array is not None:
                        name = f"{node.outputs[0].name}{ending}_{'weight' if position == 1 else 'bias'}"
                        inputs[position] = add_initializer(graph, name, array[channels], taken)
                if node.attributes.get_int("group", 1) > 1:
                    attributes["group"] = ir.AttrInt64("group", len(channels))
            part = ir.Node("", node.op_type, inputs, attributes.values(), name=f"{node.name}{ending}")
            value = new_node(graph, last, part, f"{node.outputs[0].name}{ending}")
            value.type = node.outputs[0].type
            made[node.name or ""].append(part.name or "")
        parts.append(value)
    _join(graph, last, parts, np.concatenate(groups))
    for node in reversed(chain):
        graph.remove(node, safe=True)
    return {name: tuple(nodes) for name, nodes in made.items()}


def _join(graph: ir.Graph, last: ir.Node, parts: list[ir.Value | None], order: Channels) -> None:
    """Let a Concat of the parts stand for the output of the last node, channels in the order they had.

    Convolutions that read it take its channels as they come, by their weights; for others a Gather restores
    the order.
    """
    output = last.outputs[0]
    joined = ir.node("Concat", parts, {"axis": 1}, name=f"{last.name}_joined")
    value = new_node(graph, last, joined, f"{output.name}_joined")
    uses = list(output.uses())
    if not output.is_graph_output() and uses and all(_permutes(use.node, use.idx, output) for use in uses):
        for use in uses:
            weight = constant(use.node.inputs[1])
            if weight is not None:
                name = f"{use.node.outputs[0].name}_reordered_weight"
                use.node.replace_input_with(1, add_initializer(graph, name, weight[:, order]))
    else:
        indices = add_initializer(graph, f"{output.name}_order", np.argsort(order))
        restored = ir.node("Gather", [value, indices], {"axis": 1}, name=f"{last.name}_restored")
        value = new_node(graph, last, restored, f"{output.name}_restored")
    value.shape, value.type = output.shape, output.type
    own, output.name = output.name, f"{output.name}_replaced"
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    value.name = own


def _permutes(node: ir.Node, position: int, value: ir.Value) -> bool:
    """Whether a node is a Conv of this graph that can read channels in another order."""
    return position == 0 and node.graph is value.graph and splits(node)
