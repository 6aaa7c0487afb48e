"""How far INT8 outputs are from float: sums per image, and the figures made of them.

A sum over images is rounded once (math.fsum), so no figure depends on how images were grouped or ordered.

A place that is the same infinity in both networks, or NaN in both, is equal and has no size: it is left out
of all sums. One that is not finite in only one of them, or differs in sign, is an infinite error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.errors import DataError, ModelError, UsageError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageStatistics:
    """What the figures need of each image and network output; arrays of shape (images, outputs), float64.

    Attributes:
        error: sum over elements of (y8 - y32)^2; infinite where infinities or NaN are not in the same places.
        power: sum of y32^2.
        candidate_power: sum of y8^2; infinite where the error is.
        dot: sum of y8 * y32.
    """

    error: FloatArray
    power: FloatArray
    candidate_power: FloatArray
    dot: FloatArray


def compare(candidate: Sequence[npt.NDArray[Any]], reference: Sequence[npt.NDArray[Any]]) -> ImageStatistics:
    """Statistics of one image, shape (1, outputs).

    Args:
        candidate: the INT8 network's outputs, one array each, any shape and real dtype.
        reference: the float network's outputs, of the same shapes.

    Raises:
        ModelError: the two do not have the same outputs.
    """
    shapes = [output.shape for output in candidate], [output.shape for output in reference]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"outputs have shapes {shapes[0]} and {shapes[1]}: "
            "compare models that have the same outputs, of fixed size"
        )
    rows = [_compare_output(a, b) for a, b in zip(candidate, reference, strict=True)]
    table = np.array(rows, np.float64).reshape(1, len(rows), 4)
    return ImageStatistics(table[..., 0], table[..., 1], table[..., 2], table[..., 3])


def power_of(output: npt.NDArray[Any]) -> float:
    """Sum of y^2 over the finite elements of one output of any real dtype."""
    finite = np.isfinite(output)
    return float(np.sum(np.square(output if finite.all() else output[finite], dtype=np.float64)))


def merge(parts: Sequence[ImageStatistics]) -> ImageStatistics:
    """Put the images of several parts in one, in the order of the parts.

    Raises:
        DataError: there is no part.
    """
    if not parts:
        raise DataError("no image was compared: give at least one")
    return ImageStatistics(
        error=np.concatenate([part.error for part in parts]),
        power=np.concatenate([part.power for part in parts]),
        candidate_power=np.concatenate([part.candidate_power for part in parts]),
        dot=np.concatenate([part.dot for part in parts]),
    )


def nmse(stats: ImageStatistics) -> float:
    """Sum of (y8-y32)^2 / sum of y32^2, each over all images, averaged over the network outputs.

    An output that is zero in all float images has no power to compare with; it is given power 1 per image, so
    that its error still counts, stays finite, and is 0 when INT8 is right.

    Raises:
        DataError: there is no image.
    """
    return mean_over_images(per_image_diff(stats.error, total_power(stats)))


def sqnr_db(stats: ImageStatistics) -> float:
    """Signal to quantization noise in dB: -10 log10 of :func:`nmse`; infinite without any error.

    Raises:
        DataError: there is no image.
    """
    return decibels(nmse(stats))


def decibels(noise: float) -> float:
    """-10 log10 of an NMSE; infinite for 0."""
    return -10 * math.log10(noise) if noise > 0 else math.inf


def cosine(stats: ImageStatistics) -> float:
    """Cosine between INT8 and float output, all images taken as one vector, averaged over the outputs.

    Two outputs that are both always zero are equal: 1. One that is zero where the other is not: 0.

    Raises:
        DataError: there is no image.
    """
    _require_images(stats.dot)
    dots, powers, candidate_powers = _sums(stats.dot), _sums(stats.power), _sums(stats.candidate_power)
    return math.fsum(map(_cosine, dots, powers, candidate_powers)) / len(dots)


def total_power(stats: ImageStatistics) -> FloatArray:
    """Sum of y32^2 over all images, shape (outputs,)."""
    return np.array(_sums(stats.power), np.float64)


def per_image_diff(error: FloatArray, total_power: FloatArray) -> FloatArray:
    """Each image's share of the NMSE, shape (images,); their mean over images is the NMSE.

    Args:
        error: sum of squared errors, shape (images, outputs).
        total_power: sum y32^2 over the same images, shape (outputs,); 0 is treated as :func:`nmse` says.

    Raises:
        DataError: there is no image.
    """
    _require_images(error)
    images, outputs = error.shape
    power_per_image = np.where(total_power > 0, total_power / images, 1.0)
    shares: FloatArray = _sum_outputs(error / power_per_image) / outputs
    return shares


def mean_squared(error: FloatArray, elements: npt.NDArray[Any]) -> FloatArray:
    """Each image's sum over outputs of the mean squared error, shape (images,) (REFERENCE.md 1.1).

    Args:
        error: sum of squared errors, shape (images, outputs).
        elements: elements of one image's output, shape (outputs,).

    Raises:
        DataError: there is no image.
    """
    _require_images(error)
    return _sum_outputs(error / np.maximum(elements, 1))


def mean_over_images(diff: FloatArray) -> float:
    """Mean of per-image diffs, shape (images,); ``inf`` when one of them is not finite.

    Raises:
        DataError: there is no image.
    """
    _require_images(diff)
    return math.fsum(diff) / len(diff) if np.isfinite(diff).all() else math.inf


def top_k(logits: npt.NDArray[Any], label: int, k: int) -> bool:
    """Whether ``label`` is among the ``k`` largest of the flattened logits.

    Of equal logits the lower index ranks first; NaN ranks last and is never a hit.

    Raises:
        DataError: the label is not an index of the logits.
        UsageError: ``k`` is below 1.
    """
    flat = logits.ravel()
    if not 0 <= label < flat.size:
        raise DataError(f"label {label} does not fit an output of {flat.size} classes: count labels from 0")
    if k < 1:
        raise UsageError(f"top-{k} does not exist: give k from 1")
    own = flat[label]
    ahead = int(np.count_nonzero(flat > own)) + int(np.count_nonzero(flat[:label] == own))
    return bool(own == own) and ahead < k  # noqa: PLR0124  # false for NaN only


def _compare_output(
    candidate: npt.NDArray[Any], reference: npt.NDArray[Any]
) -> tuple[float, float, float, float]:
    # A copy in C order: the order of a numpy sum follows the memory layout.
    y8 = np.ascontiguousarray(candidate, np.float64).ravel()
    y32 = np.ascontiguousarray(reference, np.float64).ravel()
    finite = np.isfinite(y8) & np.isfinite(y32)
    if finite.all():
        return _products(y8, y32)
    alike = finite | (y8 == y32) | (np.isnan(y8) & np.isnan(y32))
    error, power, candidate_power, dot = _products(y8[finite], y32[finite])
    if not alike.all():
        error = candidate_power = math.inf
    return error, power, candidate_power, dot


def _products(y8: FloatArray, y32: FloatArray) -> tuple[float, float, float, float]:
    products = ((y8 - y32) ** 2, y32 * y32, y8 * y8, y8 * y32)
    error, power, candidate_power, dot = (float(product.sum()) for product in products)
    return error, power, candidate_power, dot


def _sums(values: FloatArray) -> list[float]:
    """Sum over images for each output."""
    return [math.fsum(column) for column in values.T]


def _sum_outputs(values: FloatArray) -> FloatArray:
    """Sum over outputs for each image."""
    return np.fromiter(map(math.fsum, values), np.float64, len(values))


def _cosine(dot: float, power: float, candidate_power: float) -> float:
    if power == 0 and candidate_power == 0:
        return 1.0
    norm = math.sqrt(power) * math.sqrt(candidate_power)
    return min(1.0, max(-1.0, dot / norm)) if norm > 0 else 0.0


def _require_images(values: FloatArray) -> None:
    if not len(values):
        raise DataError("no image was compared: give at least one")
