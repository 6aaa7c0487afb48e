"""Round weights so that a layer's output moves least, not each weight by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

DAMPING = 0.01
"""Share of the mean variance added to each: keeps directions that no sample shows from being used up."""

ENOUGH_ROWS, DAMPING_OF_FEW = 8, 0.3
"""Rows for each input that a covariance is known well from, and what is added where it is known of fewer.

Directions that too few rows show look free, and errors moved onto them come back with other samples.
"""

BLOCK = 64
"""Columns whose errors are moved onto the rest in one matrix product."""

_ROUNDED_TOGETHER = 1 << 26
"""Weights that are rounded at a time, at 17 bytes each; a larger layer is cut along its outputs."""

_SORTED_TOGETHER = 1 << 20
"""Elements of covariances that are sorted at a time: groups of a depthwise layer are small and many."""

Floats = npt.NDArray[np.float64]


def round_by_covariance(
    weight: npt.NDArray[np.floating[Any]], scale: Floats, covariance: Floats, rows: float = math.inf
) -> npt.NDArray[np.int8]:
    """GPTQ: round column after column, and move the error of each onto the columns not rounded yet.

    What it moves onto them follows from the covariance of the inputs, so that the variance of the output
    error stays small; its mean is the bias' business (Frantar et al., "GPTQ", 2022; columns of large variance
    first). It is Babai's nearest plane algorithm from the last column to the first (Chen et al., "The
    Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane Algorithm", 2025), which needs no inverse.

    Args:
        weight: (groups, outputs, inputs), the outputs of each group and the inputs they read.
        scale: (groups, outputs), step of each output's weights.
        covariance: (groups, inputs, inputs) of the layer's quantized inputs, in any unit.
        rows: that the covariance is of.

    Returns:
        Integers in [-127, 127], shaped as ``weight``.
    """
    variance = np.einsum("gii->gi", covariance)
    order = np.argsort(-variance, axis=1, kind="stable")[:, ::-1]
    missing = max(0.0, covariance.shape[1] / rows - 1 / ENOUGH_ROWS)
    factor = _factor(covariance, order, DAMPING + DAMPING_OF_FEW * missing)
    groups, outputs, inputs = weight.shape
    rounded = np.empty((groups, outputs, inputs), np.int8)
    together = max(1, _ROUNDED_TOGETHER // (groups * inputs))
    for start in range(0, outputs, together):
        part = np.s_[:, start : start + together]
        rounded[part] = _rounded(weight[part] / scale[part][..., None], order, factor)
    return rounded


def _rounded(
    steps: Floats, order: npt.NDArray[np.intp], factor: npt.NDArray[np.float32]
) -> npt.NDArray[np.int8]:
    """Outputs, which do not depend on each other, in steps of their scales, rounded."""
    columns = np.take_along_axis(steps, order[:, None, :], 2).astype(np.float32)
    inputs = columns.shape[2]
    rounded = np.empty(columns.shape, np.int8)
    errors = np.empty_like(columns)
    for start in reversed(range(0, inputs, BLOCK)):
        end = min(start + BLOCK, inputs)
        targets = columns[:, :, start:end] + errors[:, :, end:] @ factor[:, end:, start:end]
        for i in reversed(range(start, end)):
            integers = np.clip(np.rint(targets[:, :, i - start]), -127, 127)
            rounded[:, :, i] = integers
            error = columns[:, :, i] - integers
            errors[:, :, i] = error
            targets[:, :, : i - start] += error[..., None] * factor[:, None, i, start:i]
    found = np.empty_like(rounded)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], found.shape), rounded, 2)
    return found


def _factor(covariance: Floats, order: npt.NDArray[np.intp], share: float) -> npt.NDArray[np.float32]:
    """Lower Cholesky factor of the damped covariance in an order, columns divided by their diagonal element.

    ``share`` of the mean variance is added to each. Inputs that never vary stand alone. In float32, as that
    halves the products, unless it is too coarse.
    """
    inputs = covariance.shape[1]
    mean = np.einsum("gii->g", covariance) / inputs
    damping = np.where(mean > 0, share * mean, 1.0)
    unit = np.where(mean > 0, mean, 1.0)  # no power of a scale may leave the range of float32
    damped = np.empty(covariance.shape, np.float32)
    together = max(1, _SORTED_TOGETHER // inputs**2)
    for start in range(0, len(order), together):
        part = slice(start, start + together)
        columns = order[part]
        rows_sorted = np.take_along_axis(covariance[part], columns[:, :, None], 1)
        damped[part] = np.take_along_axis(rows_sorted, columns[:, None, :], 2) / unit[part, None, None]
    every = np.arange(inputs)
    damped[:, every, every] += (damping / unit)[:, None].astype(np.float32)
    try:
        lower = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        lower = np.linalg.cholesky(damped.astype(np.float64)).astype(np.float32)
    lower /= np.einsum("gii->gi", lower)[:, None, :].copy()
    return lower
