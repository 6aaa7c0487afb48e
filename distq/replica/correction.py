"""Unit that rounds one layer's weights for its quantized inputs and gives the mean its output then has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distq.graph.layers import Layer
from distq.graph.state import IntegerWeight
from distq.quant.rounding import round_by_covariance
from distq.replica.keys import arrays_key, content_key
from distq.replica.moments import InputMoments, total
from distq.replica.worker import Arrays, Worker


@dataclass(frozen=True)
class Correction:
    """One layer, from the moments of what it reads.

    Attributes:
        layer: which.
        step: scale of its input.
        weight: as it is.
        original: in float, where it is to be rounded anew.
        measuring: the units that measure what it reads, each on some of the samples.
        moments: what they found in all; None: this unit runs them. Not part of the identity.
    """

    layer: Layer
    step: float
    weight: IntegerWeight
    original: npt.NDArray[np.float32] | None
    measuring: Sequence[InputMoments]
    moments: Arrays | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        arrays: Arrays = {"integers": self.weight.integers, "scale": self.weight.scale}
        if self.original is not None:
            arrays["original"] = self.original
        own = (self.layer.op, self.layer.axis, self.weight.axis, self._group, self.step)
        return content_key("correction", *own, arrays_key(arrays), [unit.key for unit in self.measuring])

    @property
    def label(self) -> str:
        """For a person."""
        return f"weights of {self.layer.name}"

    def run(self, worker: Worker) -> Arrays:
        """``integers``: int8, as the layer has them; ``mean``: (channels,), of its output without bias.

        ``forwards``: whole networks that the moments took.
        """
        moments = self.moments
        if moments is None:
            moments = total([unit.run(worker) for unit in self.measuring])
        weight = self.weight
        if self.original is not None:
            weight = replace(weight, integers=self._rounded(self.original, moments))
        means = moments["sum"].astype(np.float64) / float(moments["positions"]) * self.step
        mean = output_mean(self.layer, self._group, weight.dequantized(), means)
        return {"integers": weight.integers, "mean": mean, "forwards": moments["forwards"]}

    @property
    def _group(self) -> int:
        return self.measuring[0].input.geometry.group

    def _rounded(self, original: npt.NDArray[np.float32], moments: Arrays) -> npt.NDArray[np.int8]:
        count = float(moments["samples"])
        means = moments["means"] / count
        covariance = moments["products"] / count
        covariance -= means[:, :, None] * means[:, None, :]
        transposed = self.layer.axis == 1  # a Gemm or MatMul with its outputs along the second axis
        rows = original.T if transposed else original
        blocks = self.measuring[0].input.blocks
        shape = (self._group, rows.shape[0] // self._group, blocks, -1)
        apart = rows.reshape(shape).transpose(0, 2, 1, 3)
        steps = np.broadcast_to(self.weight.scale, rows.shape[:1]).reshape(self._group, -1)
        scale = np.repeat(steps, blocks, axis=0).astype(np.float64)
        each = apart.reshape(len(scale), *apart.shape[2:])
        integers = round_by_covariance(each, scale, covariance, count)
        together = integers.reshape(apart.shape).transpose(0, 2, 1, 3).reshape(rows.shape[0], -1)
        shaped = together.T if transposed else together
        return np.ascontiguousarray(shaped.reshape(original.shape))


def output_mean(
    layer: Layer, group: int, weight: npt.NDArray[np.float32], means: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean output without bias, (channels,), from the mean of what the weights multiply.

    Args:
        layer: which.
        group: of a Conv.
        weight: as the layer has it.
        means: (channels, *kernel) of Conv and ConvTranspose, (features,) of Gemm and MatMul.
    """
    if layer.op in {"Gemm", "MatMul"}:
        rows = weight if layer.axis == 0 else weight.T
        return np.array([np.sum(row * means) for row in rows])
    if layer.op == "ConvTranspose":
        return np.array([np.sum(weight[:, c] * means) for c in range(weight.shape[1])])
    grouped = means.reshape(group, -1)
    outputs = weight.shape[0] // group
    return np.array([np.sum(row.reshape(-1) * grouped[c // outputs]) for c, row in enumerate(weight)])
