"""The places of a detector's cells, and the arithmetic that its heads share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

STRIDES = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
"""Pixels between cells on the maps that detectors have, the usual ones first."""


def cell_count(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Cells of all maps of a picture of (height, width)."""
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def strides_of(size: tuple[int, int], cells: int) -> tuple[int, ...] | None:
    """The strides whose maps have so many cells; None where none of the usual ones have."""
    return next((strides for strides in STRIDES if cell_count(size, strides) == cells), None)


def grid(size: tuple[int, int], strides: Sequence[int]) -> FloatArray:
    """(cells, 3): column, row and stride of each cell, map by map, row by row."""
    maps = []
    for stride in strides:
        rows, columns = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
        maps.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(maps).astype(np.float64)


def sigmoid(values: npt.NDArray[Any]) -> FloatArray:
    """1 / (1 + exp(-x))."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values.astype(np.float64))))


def exponential(values: npt.NDArray[Any]) -> FloatArray:
    """exp(x) of sides of boxes; a broken network must not overflow."""
    return np.asarray(np.exp(np.clip(values.astype(np.float64), -20, 20)))


def softmax(values: npt.NDArray[Any]) -> FloatArray:
    """Along the last axis."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def around(centres: FloatArray, sides: FloatArray) -> FloatArray:
    """Corners (n, 4) of boxes with these centres and sides, each (n, 2)."""
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)


def by_distances(centres: FloatArray, distances: FloatArray) -> FloatArray:
    """Corners (n, 4) from distances to the left, top, right and bottom side, (n, 4)."""
    return np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)


def expected(bins: npt.NDArray[Any]) -> FloatArray:
    """The mean of the places of bins (n, 4, bins) by the softmax of their values (Generalized Focal Loss)."""
    return np.asarray(softmax(bins) @ np.arange(bins.shape[-1], dtype=np.float64))
