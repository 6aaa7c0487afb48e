"""Which products have the Add of their bias behind them where ONNX Runtime runs the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from distq.graph.layers import Layer

if TYPE_CHECKING:
    import onnx_ir as ir

BIAS_SHAPE = (1, 1, -1)
"""Of a bias in float: ONNX Runtime makes no Gemm of a product and an Add of such a one.

The Gemm would be float. (onnxruntime/core/optimizer/matmul_add_fusion.cc of ONNX Runtime 1.31)
"""


def with_float_bias(graph: ir.Graph, layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers, where the bias of an Add that runs by itself is float.

    A MatMul of rows whose number is open writes float, and its Add takes float: integers for its bias would
    be made float in every run. Where all sizes are known ONNX Runtime makes a QGemm of the two, with its bias
    in integers.

    Args:
        graph: of the float network.
        layers: of its plan.
    """
    nodes = {node.name: node for node in graph}
    for layer in layers:
        data = nodes[layer.node].inputs[0] if layer.add is not None else None
        shape = None if data is None else data.shape
        apart = shape is not None and len(shape) > 2 and not all(isinstance(size, int) for size in shape)
        yield replace(layer, float_bias=True) if apart else layer
