"""Outputs whose elements stand in the order of computed scores, such as the best boxes of a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.values import reads

if TYPE_CHECKING:
    import onnx_ir as ir


def outputs_by_rank(model: ir.Model) -> list[str]:
    """Names of the outputs that follow from where a TopK found what it gives."""
    placed: set[ir.Value] = set()
    for node in model.graph:
        if node.op_type == "TopK" and not node.domain:
            placed.update(node.outputs[1:])
        elif any(value in placed for value in reads(node)):
            placed.update(node.outputs)
    return [value.name or "" for value in model.graph.outputs if value in placed]
