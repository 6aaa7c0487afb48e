"""Unit that measures the quantized inputs of layers: means for bias correction, covariances for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from distq.graph.patches import Geometry, patch_sums, sampled_patches
from distq.replica.cuts import Advance
from distq.replica.keys import content_key
from distq.replica.worker import Arrays, Worker

EXACT = 2**24
"""Sums of integers up to here are exact in float32, in any order."""


@dataclass(frozen=True)
class LayerInput:
    """The integer input of one layer.

    Attributes:
        tensor: its name in the fused network.
        zero_point: the integer that stands for zero.
        geometry: how the layer walks over it.
        patches: positions of an image whose products are summed, for rounding; 0: none.
    """

    tensor: str
    zero_point: int
    geometry: Geometry
    patches: int


@dataclass(frozen=True)
class InputMoments:
    """Sums over samples of what layers multiply. All are sums of integers, exact in float64 in any order."""

    advance: Advance
    inputs: tuple[LayerInput, ...]
    indices: Sequence[int]
    affinity: int | None = None
    transient: ClassVar[bool] = True
    """Sums of products take megabytes, and are of no use once the layer is corrected."""

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("moments", self.advance.key, [asdict(i) for i in self.inputs], self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        return f"inputs of {self.inputs[0].tensor}, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """By the input's position i.

        ``i/sum`` (channels, *kernel) and ``i/positions`` over all positions; where products are asked for,
        over the sampled positions ``i/products`` (groups, inputs, inputs), ``i/means`` (groups, inputs),
        sums, and ``i/samples``.
        """
        found: Arrays = {}
        patches: dict[int, list[npt.NDArray[Any]]] = {}
        crossings, forwards = self.advance.crossing(worker, self.indices)
        found["forwards"] = np.array(forwards)
        for index, crossing in zip(self.indices, crossings, strict=True):
            for i, wanted in enumerate(self.inputs):
                data = crossing[wanted.tensor]
                sums, positions = patch_sums(wanted.geometry, data, wanted.zero_point)
                _add(found, f"{i}/sum", sums)
                _add(found, f"{i}/positions", np.array(positions))
                if wanted.patches:
                    sampled = sampled_patches(wanted.geometry, data, wanted.zero_point, wanted.patches, index)
                    patches.setdefault(i, []).append(sampled)
        for i, pieces in patches.items():
            grouped = by_group(np.concatenate(pieces), self.inputs[i].geometry.group)
            found[f"{i}/products"] = products_of(grouped)
            found[f"{i}/means"] = grouped.sum(axis=1, dtype=np.float64)
            found[f"{i}/samples"] = np.array(grouped.shape[1])
        return found


def products_of(grouped: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sums over positions of what each pair of inputs multiplies to, exact.

    Args:
        grouped: integers, (groups, positions, inputs), float32 where their squares stay below 2^16.

    Returns:
        (groups, inputs, inputs), int32 where the sums fit, else float64.
    """
    groups, positions, inputs = grouped.shape
    step = max(1, positions)
    if grouped.dtype == np.float32:
        step = int(EXACT // float(np.max(np.abs(grouped), initial=1.0)) ** 2)
    products = np.zeros((groups, inputs, inputs), grouped.dtype if positions <= step else np.float64)
    for start in range(0, positions, step):
        block = grouped[:, start : start + step]
        products += block.transpose(0, 2, 1) @ block
    largest = np.max(np.einsum("gii->gi", products), initial=0.0)  # no product exceeds the largest square
    return products.astype(np.int32 if largest < 2**31 else np.float64)


def by_group(patches: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """(positions, channels, kernel) as (groups, positions, inputs of a group)."""
    positions, channels, kernel = patches.shape
    return patches.reshape(positions, groups, channels // groups * kernel).transpose(1, 0, 2)


def _add(found: Arrays, name: str, value: npt.NDArray[Any]) -> None:
    found[name] = found[name] + value if name in found else value
