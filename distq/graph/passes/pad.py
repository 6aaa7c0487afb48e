"""Bring Pad into the form that ONNX Runtime keeps right in every layout of memory."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.values import constant, only_reader


class PadAllAxes(ir.passes.InPlacePass):
    """Write out the pads of a Pad that names axes (opset 18), with zeros for the others.

    * Axes and pads are constants, and the number of dimensions is known.

    Beside integer convolutions ONNX Runtime moves the channels to the end, and there takes pads of all axes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in model.graph:
            pads = _all_pads(node)
            if pads is None:
                continue
            name = f"{node.outputs[0].name}_pads"
            node.replace_input_with(1, add_initializer(model.graph, name, pads))
            node.resize_inputs(3)
            modified = True
        return ir.passes.PassResult(model, modified)


class PadIntoConv(ir.passes.InPlacePass):
    """A Pad by zeros in front of a Conv becomes the pads of the Conv.

    * The Conv alone reads it, and does not choose its pads itself.
    * The pads of the Pad are constants for all axes, none is negative, and batch and channels have none.

    ONNX Runtime has no integer kernel for Pad.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such pair in place."""
        modified = False
        for node in list(model.graph):
            pads = _zeros_around_images(node)
            conv = only_reader(node.outputs[0]) if pads is not None else None
            if pads is None or conv is None or not _takes_pads(conv, node.outputs[0]):
                continue
            own = np.array(conv.attributes.get_ints("pads", [0] * pads.size), np.int64)
            conv.attributes["pads"] = ir.AttrInt64s("pads", (own + pads.reshape(-1)).tolist())
            conv.attributes.pop("auto_pad", None)
            conv.replace_input_with(0, node.inputs[0])
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _zeros_around_images(node: ir.Node) -> np.ndarray | None:
    """Zeros that a Pad puts before and behind each dimension of images, (2, dimensions)."""
    if node.op_type != "Pad" or node.domain or not 2 <= len(node.inputs) <= 3:
        return None
    pads = constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
    if node.attributes.get_string("mode", "constant") != "constant" or pads is None or zero is None:
        return None
    sides = pads.reshape(2, -1)
    if zero.any() or pads.min() < 0 or sides[:, :2].any():
        return None
    return sides[:, 2:]


def _takes_pads(node: ir.Node, value: ir.Value) -> bool:
    return (
        node.op_type == "Conv"
        and not node.domain
        and node.inputs[0] is value
        and node.attributes.get_string("auto_pad", "NOTSET") in {"NOTSET", "VALID"}
    )


def _all_pads(node: ir.Node) -> np.ndarray | None:
    if node.op_type != "Pad" or node.domain or len(node.inputs) < 4:
        return None
    data, pads, axes = node.inputs[0], constant(node.inputs[1]), constant(node.inputs[3])
    if data is None or data.shape is None or pads is None or axes is None:
        return None
    rank = len(data.shape)
    found = np.zeros((2, rank), np.int64)
    found[:, axes % rank] = pads.reshape(2, -1)
    return found.reshape(-1)
