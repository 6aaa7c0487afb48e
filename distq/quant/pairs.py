"""Weights whose products a kernel adds up in pairs, in 16 bits.

Kernels of x86 processors without VNNI do (instruction vpmaddubsw): products of a uint8 with two weights that
are neighbours among a layer's inputs. ONNX Runtime and OpenVINO count inputs with the channels last, from the
first one of a layer or of each position of its kernel, which differ where the number of channels is odd.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST_PAIR = 128
"""Sum of two weights of one sign that no inputs can make too large: 255 * 128 < 2 ** 15."""


def largest_pairs(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The largest magnitude of the sum of two neighbours, (outputs,).

    Of two weights of different signs only the larger one can be too large.

    Args:
        rows: (outputs, inputs, *kernel) of any type.
    """
    flat = _channels_last(rows).astype(np.float32, copy=False)
    first, second = _neighbours(rows)
    found: npt.NDArray[np.float32] = np.abs(flat[:, first] + flat[:, second]).max(axis=1, initial=0.0)
    return found


def within_pairs(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Integer weights with the larger one of each pair beyond ``LARGEST_PAIR`` lowered as far as it takes.

    Args:
        rows: (outputs, inputs, *kernel).

    Returns:
        Weights of the same shape.
    """
    flat = np.array(_channels_last(rows), np.int16)
    first, second = _neighbours(rows)
    while True:
        beyond = np.abs(flat[:, first] + flat[:, second]) - LARGEST_PAIR
        row, pair = np.nonzero(beyond > 0)
        if not len(row):
            break
        one, other = first[pair], second[pair]
        larger = np.where(np.abs(flat[row, one]) >= np.abs(flat[row, other]), one, other)
        value = flat[row, larger]
        flat[row, larger] = value - np.sign(value) * beyond[row, pair]
    shape = (rows.shape[0], *rows.shape[2:], rows.shape[1])
    return np.ascontiguousarray(np.moveaxis(flat.astype(np.int8).reshape(shape), -1, 1))


def _channels_last(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.moveaxis(rows, 1, -1).reshape(rows.shape[0], -1)


def _neighbours(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the two inputs of each pair, (pairs,) both, channels last."""
    inputs = rows.shape[1]
    places = np.arange(rows[0].size).reshape(-1, inputs)
    orders = [places.reshape(1, -1)] if inputs % 2 == 0 else [places.reshape(1, -1), places]
    parts = [order[:, : order.shape[1] // 2 * 2].reshape(-1, 2) for order in orders]
    pairs = np.concatenate(parts)
    return pairs[:, 0], pairs[:, 1]
