"""Sizes stored as a negative number: Paddle's exporter writes -1 for a dimension that is open."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from distq.graph.values import values_of


def open_negative_sizes(model: ir.Model) -> dict[str, ir.Shape]:
    """Leave negative sizes of all tensors unknown: shape inference would compute with them as numbers.

    Returns:
        The shapes that inputs and outputs of the network had, by name.
    """
    listed = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    found = {}
    for value in values_of(model.graph):
        shape = value.shape
        if shape is None or not any(isinstance(size, int) and size < 0 for size in shape):
            continue
        if value.name in listed:
            found[value.name or ""] = shape
        value.shape = ir.Shape([None if isinstance(size, int) and size < 0 else size for size in shape])
    return found


def restore_sizes(model: ir.Model, shapes: dict[str, ir.Shape]) -> None:
    """Give inputs and outputs of the network the shapes they had: a model's interface stays as it is.

    Where ONNX's checker then finds a contradiction, as it computes with -1, these sizes stay unknown.
    """
    listed = {v.name or "": v for v in (*model.graph.inputs, *model.graph.outputs) if v.name in shapes}
    found = {name: value.shape for name, value in listed.items()}
    for name, value in listed.items():
        value.shape = shapes[name]
    if not listed or _is_consistent(model):
        return
    for name, value in listed.items():
        value.shape = found[name]


def _is_consistent(model: ir.Model) -> bool:
    try:
        onnx.shape_inference.infer_shapes(ir.to_proto(model), check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True
