"""Caffe networks made for tests, with weights that are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distq.exchange.caffe.schema import new_message

Array = NDArray[np.float32]
Stored = tuple[int, ...] | Array
"""A blob's shape, or its values."""

IMAGE = (2, 4, 7, 6)


@dataclass(frozen=True)
class Case:
    """A network without its inputs' declaration, its input shapes and its blobs by layer."""

    layers: str
    inputs: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"data": IMAGE})
    blobs: dict[str, Sequence[Stored]] = field(default_factory=dict)

    def prototxt(self) -> str:
        """The whole file."""
        declared = "".join(
            f'input: "{name}"\ninput_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
            for name, shape in self.inputs.items()
        )
        return f'name: "case"\n{declared}{self.layers}'

    def feeds(self) -> dict[str, Array]:
        """Values of the inputs, between -1 and 1."""
        return {
            name: numbers(shape, 1 + position) for position, (name, shape) in enumerate(self.inputs.items())
        }

    def save(self, folder: Path, name: str = "net") -> Path:
        """Write both files; returns the prototxt's path."""
        path = folder / f"{name}.prototxt"
        path.write_text(self.prototxt())
        path.with_suffix(".caffemodel").write_bytes(caffemodel(self.blobs))
        return path


def numbers(shape: Sequence[int], seed: int) -> Array:
    """Numbers between -1 and 1 that look random and are the same on every machine (splitmix64)."""
    with np.errstate(over="ignore"):
        state = np.arange(prod(shape), dtype=np.uint64) + np.uint64(seed * 1000003)
        state *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    unit = (state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return (2 * unit - 1).reshape(tuple(shape))


def caffemodel(blobs: dict[str, Sequence[Stored]]) -> bytes:
    """The binary file that holds these weights."""
    net = new_message("WeightsNet")
    net.layer.add(name=b"data")
    for position, (layer, stored) in enumerate(blobs.items()):
        message = net.layer.add(name=layer.encode())
        for index, given in enumerate(stored):
            values = numbers(given, 100 + 10 * position + index) if isinstance(given, tuple) else given
            blob = message.blobs.add(data=[values.tobytes()])
            blob.shape.dim.extend(values.shape)
    return bytes(net.SerializeToString())


def layer(
    kind: str,
    name: str = "y",
    bottom: str | Sequence[str] = "data",
    top: str | Sequence[str] = "",
    **text: str,
) -> str:
    """One layer as text; ``text`` are its parameter messages."""
    bottoms = [bottom] if isinstance(bottom, str) else bottom
    tops = [top or name] if isinstance(top, str) else top
    lines = [
        f'name: "{name}" type: "{kind}"',
        *(f'bottom: "{b}"' for b in bottoms),
        *(f'top: "{t}"' for t in tops),
    ]
    return (
        f"layer {{ {' '.join(lines)} {' '.join(f'{key} {{ {value} }}' for key, value in text.items())} }}\n"
    )


def sorted_rows(values: Array) -> Array:
    """Detections in an order of their own: OpenCV sorts them by score, Caffe by class first."""
    if values.ndim != 4 or values.shape[:2] != (1, 1) or values.shape[-1] != 7:
        return values
    rows = values[0, 0]
    return rows[np.lexsort(rows.T[::-1])][None, None]


def relative_error(expected: Array | None, found: Array) -> float:
    """The largest difference by the largest value; infinite where shapes differ."""
    if expected is None or expected.shape != found.shape:
        return float("inf")
    return float(np.abs(expected - found).max() / np.abs(expected).max())
