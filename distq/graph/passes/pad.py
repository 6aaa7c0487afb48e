"""Bring Pad into the form that ONNX Runtime keeps right in every layout of memory."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer
from distq.graph.values import constant


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
