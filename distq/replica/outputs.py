"""Outputs of a network as arrays that can be compared, whatever kind they are."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def as_numbers(outputs: Iterable[Any]) -> list[npt.NDArray[Any]]:
    """One array an output.

    Tensors of numbers stay as they are. Each string becomes its CRC-32, so that only equal ones are equal. Of
    a sequence or map the elements follow one another in one axis; an optional without a value is empty.
    """
    return [_numbers(output) for output in outputs]


def _numbers(output: Any) -> npt.NDArray[Any]:  # noqa: ANN401  # whatever ONNX Runtime gives back
    if isinstance(output, np.ndarray) and output.dtype.kind not in "OSU":
        return output
    if isinstance(output, np.ndarray):
        sums = [float(zlib.crc32(str(text).encode())) for text in output.ravel()]
        return np.array(sums, np.float64).reshape(output.shape)
    if isinstance(output, dict):
        output = [*output.keys(), *output.values()]
    if isinstance(output, list):
        return np.concatenate([np.zeros(0), *(_numbers(element).reshape(-1) for element in output)])
    if isinstance(output, str):
        return _numbers(np.array(output))
    return np.zeros(0) if output is None else np.asarray(output)


def kept_bytes(output: Any) -> int:  # noqa: ANN401  # as above
    """Memory of an output or of what crosses a cut."""
    if isinstance(output, list):
        return sum(map(kept_bytes, output))
    return int(output.nbytes) if isinstance(output, np.ndarray) else 0
