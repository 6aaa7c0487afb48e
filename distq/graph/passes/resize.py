"""Bring Resize into forms that ONNX Runtime keeps right in every layout of memory.

Beside integer convolutions ONNX Runtime moves the channels to the end, past the Resize between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer, new_node, take_over
from distq.graph.values import constant

_REGION, _SCALES, _SIZES = 1, 2, 3
"""Positions of a Resize's inputs behind its data."""

_RANK = 4
"""Number of dimensions of a batch of images."""

_IMAGE, _IMAGE_OF_LAST = frozenset({2, 3}), frozenset({1, 2})
"""Axes that a linear Resize has a kernel for: rows and columns, with the channels before them or behind."""

_CHANNELS_LAST = (0, 3, 1, 2)
"""Where each axis is with the channels at the end."""

_WITH_A_LAYOUT = frozenset({"AveragePool", "Conv", "GlobalAveragePool", "MaxPool"})
"""Operators that ONNX Runtime moves the channels to the end for, where they run on integers."""


class ResizeAllAxes(ir.passes.InPlacePass):
    """Write out the scales or sizes of a Resize that names axes (opset 18), for all axes.

    * Scales, sizes and region are constants, and the number of dimensions is known; with sizes, all sizes.
    * Its axes are stretched one by one: no ratio of theirs is kept.

    In another layout ONNX Runtime looks for the named axes in inputs that have fewer values than dimensions.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in model.graph:
            written = _of_all_axes(node)
            for position, array in written.items():
                name = f"{node.outputs[0].name}_input_{position}"
                node.replace_input_with(position, add_initializer(model.graph, name, array))
            if written:
                node.attributes.pop("axes")
                modified = True
        return ir.passes.PassResult(model, modified)


class CubicOfRows(ir.passes.InPlacePass):
    """A cubic Resize of images gets every channel alone, as one more image of the batch.

    * The images have four dimensions, and all sizes but the batch are known.

    ONNX Runtime has no cubic Resize with the channels at the end. It moves Transposes past one where that is
    less work, and refuses to open the network then, but not past a Reshape to another number of images.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            sizes = _cubic_sizes(node)
            if sizes is None or node.inputs[0] is None:
                continue
            before, after = sizes
            name = node.outputs[0].name
            rows = add_initializer(model.graph, f"{name}_rows", np.array([-1, 1, *before[2:]], np.int64))
            whole = add_initializer(model.graph, f"{name}_whole", np.array([-1, *after[1:]], np.int64))
            reshape = ir.node("Reshape", [node.inputs[0], rows])
            apart = new_node(model.graph, node, reshape, f"{name}_apart")
            given = list(node.inputs[1:])
            if len(given) == _SIZES:
                wanted = np.array([after[0] * after[1], 1, *after[2:]], np.int64)
                given[-1] = add_initializer(model.graph, f"{name}_sizes", wanted)
            resize = ir.node("Resize", [apart, *given], node.attributes, name=node.name)
            resized = new_node(model.graph, node, resize, f"{name}_resized")
            back = ir.node("Reshape", [resized, whole], name=f"Reshape_{name}")
            model.graph.insert_before(node, back)
            take_over(back.outputs[0], node)
            modified = True
        return ir.passes.PassResult(model, modified)


class ResizeInPlace(ir.passes.InPlacePass):
    """Put a Reshape to the same shape behind a Resize of images that has no kernel in other layouts.

    * A cubic one that has not become one of rows.
    * A linear one of axes that are other than two neighbours behind the batch, in the layout of a Transpose
      before it or with the channels at the end.

    ONNX Runtime moves a Transpose past such a Resize to join it with one behind, and refuses to open the
    network then. Past the Reshape, which costs nothing, it sees none to join it with.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            if not _is_bound(node):
                continue
            name = node.outputs[0].name
            same = add_initializer(model.graph, f"{name}_same", np.zeros(_RANK, np.int64))
            resize = ir.node("Resize", list(node.inputs), node.attributes, name=node.name)
            resized = new_node(model.graph, node, resize, f"{name}_resized")
            resized.shape, resized.type = node.outputs[0].shape, node.outputs[0].type
            kept = ir.node("Reshape", [resized, same], name=f"Reshape_{name}")
            model.graph.insert_before(node, kept)
            take_over(kept.outputs[0], node)
            modified = True
        return ir.passes.PassResult(model, modified)


def _of_all_axes(node: ir.Node) -> dict[int, np.ndarray]:
    """The inputs of a Resize of some axes, by position, as they are for all; empty where it stays."""
    axes = node.attributes.get_ints("axes", []) if node.op_type == "Resize" and not node.domain else []
    data = node.inputs[0] if axes else None
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if data is None or data.shape is None or policy != "stretch":
        return {}
    rank = len(data.shape)
    sizes = [size if isinstance(size, int) else 0 for size in data.shape]
    rest: dict[int, np.ndarray] = {
        _REGION: np.repeat(np.array([0, 1], np.float32), rank),
        _SCALES: np.ones(rank, np.float32),
        _SIZES: np.array(sizes, np.int64),
    }
    written = {}
    for position, value in enumerate(node.inputs[1:], 1):
        if value is None or (value.shape is not None and value.shape == (0,)):
            continue
        given = constant(value)
        if given is None:
            return {}
        array = rest[position].reshape(-1, rank).copy()
        array[:, [axis % rank for axis in axes]] = given.reshape(len(array), -1)
        if not array.all() and position == _SIZES:
            return {}
        written[position] = array.reshape(-1).astype(given.dtype)
    return written


def _is_bound(node: ir.Node) -> bool:
    """Whether a Resize is one that :class:`ResizeInPlace` puts a Reshape before."""
    if node.op_type != "Resize" or node.domain or node.inputs[0] is None:
        return False
    shape, mode = node.inputs[0].shape, node.attributes.get_string("mode", "nearest")
    if shape is None or len(shape) != _RANK or mode == "nearest":
        return False
    if mode == "cubic":
        data = node.inputs[0].producer()
        return data is None or data.op_type != "Reshape"
    return not all(axes <= _IMAGE or axes <= _IMAGE_OF_LAST for axes in _axes_in_layouts(node))


def _axes_in_layouts(resize: ir.Node) -> Iterator[set[int]]:
    """Which axes a Resize changes, in each layout that ONNX Runtime may bring its data to."""
    before, after = resize.inputs[0], resize.outputs[0]
    if before is None or before.shape is None or after.shape is None:
        return
    stretched = {axis for axis in range(_RANK) if before.shape[axis] != after.shape[axis]}
    waiting: list[tuple[ir.Value, tuple[int, ...]]] = [(before, tuple(range(_RANK)))]
    seen = {waiting[0]}
    while waiting:
        value, layout = waiting.pop()
        axes = {layout[axis] for axis in stretched}
        yield axes
        node = value.producer()
        if node is None:
            continue
        if node.op_type in _WITH_A_LAYOUT:
            yield {_CHANNELS_LAST[axis] for axis in axes}
            continue
        order = node.attributes.get_ints("perm", []) if node.op_type == "Transpose" else range(_RANK)
        if len(order) != _RANK:
            continue
        for given in node.inputs:
            if given is not None and given.shape is not None and len(given.shape) == _RANK:
                found = (given, tuple(order[axis] for axis in layout))
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)


def _cubic_sizes(node: ir.Node) -> tuple[list[int], list[int]] | None:
    """Sizes of what a cubic Resize of images reads and writes, 0 for an unknown batch; None for any other."""
    if node.op_type != "Resize" or node.domain or node.attributes.get_string("mode", "nearest") != "cubic":
        return None
    shapes = [value.shape for value in (node.inputs[0], node.outputs[0]) if value is not None]
    if (
        len(shapes) != 2
        or any(shape is None or len(shape) != 4 for shape in shapes)
        or node.attributes.get("axes")
    ):
        return None
    before, after = ([d if isinstance(d, int) else 0 for d in shape or ()] for shape in shapes)
    by_sizes = len(node.inputs) > _SIZES
    known = all((*before[1:], *after[1:])) and (after[0] > 0 or not by_sizes)
    return (before, after) if known and before[:2] == after[:2] else None
