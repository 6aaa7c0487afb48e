"""Unit that measures the quantized inputs of layers: means for bias correction, covariances for rounding."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from distq.graph.patches import Geometry, patch_sums, sampled_patches
from distq.graph.subpixel import as_conv_geometry
from distq.quant.scheme import ZeroPoints
from distq.replica.cuts import Advance
from distq.replica.keys import content_key
from distq.replica.side_by_side import side_by_side
from distq.replica.worker import Arrays, Worker

Floats = npt.NDArray[np.float64]

EXACT = 2**24
"""Sums of integers up to here are exact in float32, in any order."""

LEAST_DIVIDED = 2**28
"""Multiplications of inputs that threads share: fewer take less than a few milliseconds."""

MOST_OF_BYTES = 2**23
"""Of so many bytes the sum is within int32."""


@dataclass(frozen=True)
class LayerInput:
    """The integer input of one layer.

    Attributes:
        tensor: its name in the fused network.
        zero_point: the integer that stands for zero, or that of each channel.
        geometry: how the layer walks over it.
        patches: positions of an image whose products are summed, for rounding; 0: none.
        blocks: that each group's input channels are cut into; products are taken within a block alone.
    """

    tensor: str
    zero_point: ZeroPoints
    geometry: Geometry
    patches: int
    blocks: int = 1


@dataclass(frozen=True)
class InputMoments:
    """Sums over samples of what a layer multiplies.

    All are of integers, and exact in float64 in any order.
    """

    advance: Advance
    input: LayerInput
    indices: Sequence[int]
    affinity: int | None = None
    transient: ClassVar[bool] = True
    """Sums of products take megabytes, and are of no use once the layer is corrected."""

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("moments", self.advance.key, asdict(self.input), self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        return f"inputs of {self.input.tensor}, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """Sums over all positions, and where products are asked for over the sampled positions.

        ``sum`` (channels, *kernel) and ``positions``; ``products`` (blocks, inputs, inputs), ``means``
        (blocks, inputs), which are sums too, and ``samples``; ``forwards``. Blocks are of all groups.
        """
        wanted = self.input
        crossings, forwards = self.advance.crossing(worker, self.indices)
        added: dict[tuple[int, ...], npt.NDArray[Any]] = {}  # inputs of a shape, added up
        counts: Counter[tuple[int, ...]] = Counter()
        inputs = [wanted.geometry.images(crossing[wanted.tensor]) for crossing in crossings]
        for data in inputs:
            shape = data.shape[1:]
            counts[shape] += len(data)
            added[shape] = add_up(data, added.get(shape), counts[shape])
        read = zip(self.indices, inputs, strict=True) if wanted.patches else ()
        patches = list(side_by_side(worker, self._patches, read))
        sums, positions = zip(
            *(
                patch_sums(wanted.geometry, added[s].astype(np.float64), counts[s], wanted.zero_point)
                for s in added
            ),
            strict=True,
        )
        found = {
            "sum": np.sum(sums, axis=0),
            "positions": np.array(sum(positions)),
            "forwards": np.array(forwards),
        }
        if patches:
            grouped = by_group(np.concatenate(patches), wanted.geometry.group * wanted.blocks)
            work = grouped.size * grouped.shape[2]
            count = worker.settings.together if work >= LEAST_DIVIDED else 1
            pieces = np.array_split(grouped, count, axis=1)
            found["products"] = fitting(list(side_by_side(worker, products_of, pieces)))
            found["means"] = grouped.sum(axis=1, dtype=np.float64)
            found["samples"] = np.array(grouped.shape[1])
        return found

    def _patches(self, sample: tuple[int, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Patches of a sample, by its index and what the layer reads of it."""
        index, data = sample
        walk = as_conv_geometry(self.input.geometry, data.shape[2:])
        return sampled_patches(walk, data, self.input.zero_point, self.input.patches, index)


def add_up(data: npt.NDArray[Any], sums: npt.NDArray[Any] | None, count: int) -> npt.NDArray[Any]:
    """Add integer images to sums of earlier ones, which are changed in place where that holds them.

    Images of bytes are added up in int32, which takes a third of the time that int64 does.

    Args:
        data: images, (images, ...).
        sums: of those before, (...); None: there are none.
        count: of all, these included.
    """
    holds = data.dtype.itemsize == 1 and count < MOST_OF_BYTES
    kind = np.int32 if holds else np.int64
    sums = np.zeros(data.shape[1:], kind) if sums is None else sums.astype(kind, copy=False)
    if data.ndim == 2:
        sums += data.sum(axis=0, dtype=kind)
    else:
        for image in data:
            sums += image.astype(kind)
    return sums


def total(results: Sequence[Arrays]) -> Arrays:
    """What units over parts of the samples found, together: sums of integers, exact in any order."""
    if len(results) == 1:
        return results[0]
    return {
        name: functools.reduce(
            functools.partial(np.add, dtype=np.float64), [result[name] for result in results]
        )
        for name in results[0]
    }


def products_of(grouped: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sums over positions of what each pair of inputs multiplies to, (groups, inputs, inputs), exact.

    In the type of the input where that holds them, else float64: no sum of products exceeds the larger of two
    sums of squares (Cauchy and Schwarz), nor does a part of it.

    Args:
        grouped: integers, (groups, positions, inputs), float32 where their squares stay below 2^16.
    """
    squares = np.einsum("gpi,gpi->gi", grouped, grouped)
    if grouped.dtype == np.float64 or np.max(squares, initial=0.0) < EXACT or grouped.shape[1] <= 1:
        whole: npt.NDArray[Any] = grouped.transpose(0, 2, 1) @ grouped
        return whole
    middle = grouped.shape[1] // 2
    products: npt.NDArray[Any] = products_of(grouped[:, :middle]).astype(np.float64)
    products += products_of(grouped[:, middle:])
    return products


def fitting(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Sums of products over some positions, added up: int32 where they fit, else float64."""
    products = functools.reduce(functools.partial(np.add, dtype=np.float64), parts)
    largest = np.max(np.einsum("gii->gi", products), initial=0.0)  # no product exceeds the largest square
    return products.astype(np.int32 if largest < 2**31 else np.float64)


def by_group(patches: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """(positions, channels, kernel) as (groups, positions, inputs of a group)."""
    positions, channels, kernel = patches.shape
    return patches.reshape(positions, groups, channels // groups * kernel).transpose(1, 0, 2)
