"""Check models by onnx.checker, as far as it agrees with what ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Callable

import onnx

_RUNS_ALL_THE_SAME = (
    "Field 'shape' of 'type' is required but missing",
    "is deprecated in domain_version",
    "is not compatible with the version imported by model",
)
"""What onnx.checker refuses though ONNX Runtime runs it: outputs of unknown rank, operators that were
withdrawn later, and functions written for another opset."""

_ERRORS = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


def check(proto: onnx.ModelProto) -> None:
    """Check a model from outside.

    Raises:
        onnx.checker.ValidationError: it is damaged.
    """
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        if not any(text in str(error) for text in _RUNS_ALL_THE_SAME):
            raise


def check_made(proto: onnx.ModelProto, source: Callable[[], onnx.ModelProto]) -> None:
    """Check a model made here, shapes included, unless shapes cannot be inferred in its source either.

    Args:
        proto: the model.
        source: gives what it was made of, which is asked for where the model fails.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: it is wrong.
    """
    try:
        onnx.checker.check_model(_with_open_sizes(proto), full_check=True)
    except _ERRORS:
        if _infers(source()):
            raise
        check(proto)


def _with_open_sizes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without sizes of -1, which stand for open ones and which onnx computes with as numbers."""
    values = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    if not any(d.dim_value < 0 for v in values for d in v.type.tensor_type.shape.dim):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_value < 0:
                size.Clear()
    return copy


def _infers(proto: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except _ERRORS:
        return False
    return True
