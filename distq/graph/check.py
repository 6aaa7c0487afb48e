"""Check models by onnx.checker, as far as it agrees with what ONNX Runtime runs."""

from __future__ import annotations

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


def check_made(proto: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Check a model made here, shapes included, unless shapes cannot be inferred in its source either.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: it is wrong.
    """
    try:
        onnx.checker.check_model(proto, full_check=True)
    except _ERRORS:
        if _infers(source):
            raise
        check(proto)


def _infers(proto: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except _ERRORS:
        return False
    return True
