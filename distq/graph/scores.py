"""Masked attention scores and long rows of shares stay in float; what a Softmax writes has a least range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.values import constant
from distq.targets.operators import ARITHMETIC, PASS_THROUGH

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import onnx_ir as ir

_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
_MASKS = frozenset({"Add", "Sub", "Where"})
"""What puts a mask on scores: -inf, the least float or -1e4 where nothing shall be looked at."""

_ON_SCORES = PASS_THROUGH | ARITHMETIC | _MASKS | {"Concat", "Div", "Max", "Min", "Clip", "Identity"}
"""What may stand between a mask and the Softmax."""

_UNNAMED = "unk__"
"""How shape inference begins the names of sizes that it cannot tell."""

LONG_ROW = 64
"""Shares of a row that 8 bits serve at most: equal ones lose 23 dB with as many, 11 dB with 257.

A row of n equal ones has a sum of squares of 1 / n; rounding to steps of 1 / 255 adds n / (12 * 255^2).
"""

_LEAST_SUM = 2.0
"""Length of a row times the least upper end of a Softmax's range, see ``least_high``."""


def masked_scores(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """Nodes that may put a mask on scores or pass masked ones on, and whose results only Softmax reads.

    Between a mask of -1e4 or less and the scores there are no values: a quantizer over that range has one
    step for all scores. Behind the Softmax the mask is gone. So these nodes are to be computed in float,
    whatever the mask is made of.

    Args:
        nodes: of a graph, in its order.
    """
    masked: set[ir.Node] = set()
    for node in nodes:
        if not node.domain and node.op_type in _ON_SCORES:
            producers = {v.producer() for v in node.inputs if v is not None}
            if node.op_type in _MASKS or not masked.isdisjoint(producers):
                masked.add(node)
    for node in reversed(nodes):
        if node in masked and not _only_softmax_reads(node, masked):
            masked.remove(node)
    return masked


def _only_softmax_reads(node: ir.Node, masked: Collection[ir.Node]) -> bool:
    readers = [use.node for output in node.outputs for use in output.uses()]
    return (
        bool(readers)
        and not any(output.is_graph_output() for output in node.outputs)
        and all(reader in masked or (reader.op_type in _SOFTMAX and not reader.domain) for reader in readers)
    )


def is_share(value: ir.Value) -> bool:
    """Whether a value is what a Softmax writes, maybe in another shape, and weighs rows in a MatMul."""
    if not any(use.node.op_type == "MatMul" and use.idx == 0 for use in value.uses()):
        return False
    return _softmax_of(value) is not None


def long_shares(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """The MatMuls that weigh values with rows of more than ``LONG_ROW`` shares, or of unknown length.

    Args:
        nodes: of a graph.
    """
    found = []
    for node in nodes:
        if node.op_type != "MatMul" or node.domain or any(constant(v) is not None for v in node.inputs):
            continue
        rows = [s for v in node.inputs if v is not None and (s := _softmax_of(v)) is not None]
        if any((_row_length(softmax) or LONG_ROW + 1) > LONG_ROW for softmax in rows):
            found.append(node)
    return found


def _softmax_of(value: ir.Value) -> ir.Node | None:
    """The Softmax that writes a value, maybe in another shape."""
    node = value.producer()
    while node is not None and node.op_type in PASS_THROUGH and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "Softmax" and not node.domain else None


def least_high(value: ir.Value, quantized: Collection[ir.Value]) -> float:
    """The least upper end of a tensor's range: above 0 where ONNX Runtime's QLinearSoftmax writes it.

    That kernel takes the place of a Softmax between two quantizers. Its table of exp, in float32, reaches up
    to the largest float divided by e^5 n, with n the length of a row, and is multiplied by 1 / scale. Where
    1 / scale is above e^5 n = 148 n, a row of equal scores overflows and comes out as zeros. So a range of
    255 steps has to end at 1.72 / n or above. It is ``_LEAST_SUM`` / n, which leaves equal scores half of the
    levels. Where n is a size with a name it is 1, or ``_LEAST_SUM`` along a batch, which may have one row.
    (onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc of ONNX Runtime 1.31)

    Args:
        value: the tensor.
        quantized: all tensors that have a quantizer.
    """
    node = value.producer()
    if node is None or node.domain or node.op_type != "Softmax" or node.inputs[0] not in quantized:
        return 0.0
    length = _row_length(node)
    if length is not None:
        return _LEAST_SUM / length
    shape = node.outputs[0].shape
    axis = node.attributes.get_int("axis", -1)
    size = None if shape is None else getattr(shape[axis], "value", None)
    leading = 0 in {axis, axis + len(shape or ())}
    unknown = size is None or size.startswith(_UNNAMED)
    return _LEAST_SUM if leading or unknown or size in _batches(node.graph) else 1.0


def _batches(graph: ir.Graph | ir.Function | None) -> set[str | None]:
    """Names of the leading sizes of a graph's inputs."""
    inputs = [] if graph is None else graph.inputs
    return {getattr(v.shape[0], "value", None) for v in inputs if v.shape is not None and len(v.shape)}


def _row_length(softmax: ir.Node) -> int | None:
    shape = softmax.outputs[0].shape
    length = shape[softmax.attributes.get_int("axis", -1)] if shape is not None else None
    return length if isinstance(length, int) and length > 0 else None
