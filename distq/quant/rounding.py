"""Round weights so that a layer's output moves least, not each weight by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DAMPING = 0.01
"""Share of the mean variance added to each: keeps directions that no sample shows from being used up."""

BLOCK = 64
"""Columns whose errors are moved onto the rest in one matrix product."""

Floats = npt.NDArray[np.float64]


def round_by_covariance(weight: Floats, scale: Floats, covariance: Floats) -> npt.NDArray[np.int8]:
    """GPTQ: round column after column, and move the error of each onto the columns not rounded yet.

    What it moves onto them follows from the inverse covariance of the inputs, so that the variance of the
    output error stays small; its mean is the bias' business (Frantar et al., "GPTQ", 2022; columns of large
    variance first).

    Args:
        weight: (groups, outputs, inputs), the outputs of each group and the inputs they read.
        scale: (groups, outputs), step of each output's weights.
        covariance: (groups, inputs, inputs) of the layer's quantized inputs, in any unit.

    Returns:
        Integers in [-127, 127], shaped as ``weight``.
    """
    groups, outputs, inputs = weight.shape
    variance = np.einsum("gii->gi", covariance)
    order = np.argsort(-variance, axis=1, kind="stable")
    columns = np.take_along_axis(weight, order[:, None, :], 2) / scale[..., None]
    factor = _inverse_factor(
        np.take_along_axis(np.take_along_axis(covariance, order[..., None], 1), order[:, None, :], 2)
    )
    rounded = np.empty((groups, outputs, inputs), np.int8)
    for start in range(0, inputs, BLOCK):
        end = min(start + BLOCK, inputs)
        errors = np.empty((groups, outputs, end - start))
        for i in range(start, end):
            integers = np.clip(np.rint(columns[:, :, i]), -127, 127)
            rounded[:, :, i] = integers
            error = (columns[:, :, i] - integers) / factor[:, i, i, None]
            columns[:, :, i:end] -= error[..., None] * factor[:, None, i, i:end]
            errors[:, :, i - start] = error
        columns[:, :, end:] -= errors @ factor[:, start:end, end:]
    found = np.empty_like(rounded)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], found.shape), rounded, 2)
    return found


def _inverse_factor(covariance: Floats) -> Floats:
    """Upper triangular U with U^T U the inverse of the damped covariance.

    Inputs that never vary stand alone.
    """
    inputs = covariance.shape[1]
    mean = np.einsum("gii->g", covariance) / inputs
    damping = np.where(mean > 0, DAMPING * mean, 1.0)
    inverse = np.linalg.inv(covariance + damping[:, None, None] * np.eye(inputs))
    lower: Floats = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).astype(np.float64)
    return lower.transpose(0, 2, 1)
