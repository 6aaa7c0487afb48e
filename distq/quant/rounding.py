"""Round weights so that a layer's output moves least, not each weight by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.quant.scheme import LARGEST_WEIGHT

DAMPING = 0.01
"""Share of the mean variance added to each: keeps directions that no sample shows from being used up."""

ENOUGH_ROWS, DAMPING_OF_FEW = 8, 1.0
"""Rows for each input that a covariance is known well from, and how variances grow where there are fewer.

Directions that too few rows show look free, and errors moved onto them come back with other samples. Each
variance grows by a part of itself: in a transformer a few are so large that a part of the mean drowns others.
"""

BLOCK = 64
"""Columns whose errors are moved onto the rest in one matrix product."""

OUTPUTS_TOGETHER = 384
"""Outputs of a group that are rounded at a time; those of a larger layer are so cut, whoever rounds them.

The last bit of a product can depend on how many rows it has.
"""

_SORTED_TOGETHER = 1 << 20
"""Elements of covariances that are sorted at a time: groups of a depthwise layer are small and many."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """What rounding takes of a covariance.

    Attributes:
        order: (groups, inputs), of the inputs from the least to the largest variance.
        lower: (groups, inputs, inputs), Cholesky factor in that order, its diagonal 1.
    """

    order: npt.NDArray[np.intp]
    lower: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.order.nbytes + self.lower.nbytes


def factor_of(covariance: Floats, rows: float = math.inf) -> Factor:
    """What rounding takes of covariances.

    Args:
        covariance: (groups, inputs, inputs) of the layer's quantized inputs, in any unit.
        rows: that the covariance is of.
    """
    variance = np.einsum("gii->gi", covariance)
    order = np.argsort(-variance, axis=1, kind="stable")[:, ::-1]
    missing = max(0.0, covariance.shape[1] / rows - 1 / ENOUGH_ROWS)
    return Factor(order, _factor(covariance, order, DAMPING_OF_FEW * missing))


def round_by_factor(
    weight: npt.NDArray[np.floating[Any]], scale: Floats, factor: Factor, largest: int = LARGEST_WEIGHT
) -> npt.NDArray[np.int8]:
    """GPTQ: round column after column, and move the error of each onto the columns not rounded yet.

    What it moves onto them follows from the covariance of the inputs, so that the variance of the output
    error stays small; its mean is the bias' business (Frantar et al., "GPTQ", 2022; columns of large variance
    first). It is Babai's nearest plane algorithm from the last column to the first (Chen et al., "The
    Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane Algorithm", 2025), which needs no inverse.

    Args:
        weight: (groups, outputs, inputs), the outputs of each group and the inputs they read.
        scale: (groups, outputs), step of each output's weights.
        factor: of the covariance of the inputs.
        largest: integer.

    Returns:
        Integers in [-largest, largest], shaped as ``weight``.
    """
    rounded = np.empty(weight.shape, np.int8)
    for start in range(0, weight.shape[1], OUTPUTS_TOGETHER):
        part = np.s_[:, start : start + OUTPUTS_TOGETHER]
        steps = weight[part] / scale[part][..., None]
        rounded[part] = _rounded(steps, factor.order, factor.lower, largest)
    return rounded


def _rounded(
    steps: Floats, order: npt.NDArray[np.intp], factor: npt.NDArray[np.float32], largest: int
) -> npt.NDArray[np.int8]:
    """Outputs, which do not depend on each other, in steps of their scales, rounded.

    All values of an input lie side by side in memory meanwhile: they are what is worked on at a time.
    """
    columns = _sorted_rows(steps.astype(np.float32).transpose(0, 2, 1), order)  # (groups, inputs, outputs)
    inputs = columns.shape[1]
    rounded = np.empty(columns.shape, np.int8)
    errors = np.empty_like(columns)
    added = np.empty((len(columns), BLOCK, columns.shape[2]), np.float32)
    moved = factor.transpose(0, 2, 1)
    for start in reversed(range(0, inputs, BLOCK)):
        end = min(start + BLOCK, inputs)
        targets = moved[:, start:end, end:] @ errors[:, end:]
        targets += columns[:, start:end]
        for i in reversed(range(start, end)):
            rest = i - start
            integers = np.rint(targets[:, rest])
            np.minimum(np.maximum(integers, -largest, out=integers), largest, out=integers)
            rounded[:, i] = integers
            np.subtract(columns[:, i], integers, out=errors[:, i])
            np.multiply(factor[:, i, start:i, None], errors[:, None, i], out=added[:, :rest])
            targets[:, :rest] += added[:, :rest]
    found = _sorted_rows(rounded, np.argsort(order, axis=1))
    return np.ascontiguousarray(found.transpose(0, 2, 1))


def _sorted_rows(matrices: npt.NDArray[Any], order: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """The rows of each of some matrices in its order, (matrices, rows): whole rows are copied."""
    count, rows, columns = matrices.shape
    places = order + rows * np.arange(count)[:, None]
    found: npt.NDArray[Any] = matrices.reshape(count * rows, columns)[places.reshape(-1)]
    return found.reshape(matrices.shape)


def _factor(covariance: Floats, order: npt.NDArray[np.intp], few: float) -> npt.NDArray[np.float32]:
    """Lower Cholesky factor of the damped covariance in an order, columns divided by their diagonal element.

    ``DAMPING`` of the mean variance is added to each, and ``few`` of its own. Inputs that never vary stand
    alone. In float32, as that halves the products, unless it is too coarse.
    """
    inputs = covariance.shape[1]
    mean = np.einsum("gii->g", covariance) / inputs
    damping = np.where(mean > 0, DAMPING * mean, 1.0)
    unit = np.where(mean > 0, mean, 1.0)  # no power of a scale may leave the range of float32
    damped = np.empty(covariance.shape, np.float32)
    together = max(1, _SORTED_TOGETHER // inputs**2)
    for start in range(0, len(order), together):
        part = slice(start, start + together)
        half = _sorted_rows(covariance[part], order[part])  # of a symmetric matrix
        damped[part] = _sorted_rows(half.transpose(0, 2, 1), order[part]) / unit[part, None, None]
    every = np.arange(inputs)
    damped[:, every, every] *= np.float32(1 + few)
    damped[:, every, every] += (damping / unit)[:, None].astype(np.float32)
    try:
        lower = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        lower = np.linalg.cholesky(damped.astype(np.float64)).astype(np.float32)
    lower /= np.einsum("gii->gi", lower)[:, None, :].copy()
    return lower
