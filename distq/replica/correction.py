"""Unit that rounds one layer's weights for its quantized inputs and gives the mean its output then has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distq.graph.layers import Layer
from distq.graph.state import IntegerWeight
from distq.quant.rounding import round_by_covariance
from distq.replica.keys import arrays_key, content_key
from distq.replica.worker import Arrays, Worker


@dataclass(frozen=True)
class Correction:
    """One layer, from the moments of what it reads.

    Attributes:
        layer: which.
        group: of a Conv.
        step: scale of its input.
        weight: as it is.
        original: in float, where it is to be rounded anew.
        measured: keys of the units that the moments come from.
        moments: the sums of these; not part of the identity, as they follow from the keys.
    """

    layer: Layer
    group: int
    step: float
    weight: IntegerWeight
    original: npt.NDArray[np.float32] | None
    measured: Sequence[str]
    moments: Arrays = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        arrays: Arrays = {"integers": self.weight.integers, "scale": self.weight.scale}
        if self.original is not None:
            arrays["original"] = self.original
        own = (self.layer.op, self.layer.axis, self.weight.axis, self.group, self.step)
        return content_key("correction", *own, arrays_key(arrays), self.measured)

    @property
    def label(self) -> str:
        """For a person."""
        return f"weights of {self.layer.name}"

    def run(self, worker: Worker) -> Arrays:
        """``integers``: int8, as the layer has them; ``mean``: (channels,), of its output without bias.

        ``forwards``: whole networks that the moments took.
        """
        del worker
        weight = self.weight
        if self.original is not None:
            weight = replace(weight, integers=self._rounded(self.original))
        means = self.moments["sum"].astype(np.float64) / float(self.moments["positions"]) * self.step
        mean = output_mean(self.layer, self.group, weight.dequantized().astype(np.float64), means)
        return {"integers": weight.integers, "mean": mean, "forwards": self.moments["forwards"]}

    def _rounded(self, original: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
        count = float(self.moments["samples"])
        means = self.moments["means"] / count
        covariance = self.moments["products"] / count
        covariance -= means[:, :, None] * means[:, None, :]
        transposed = self.layer.axis == 1  # a Gemm with its outputs along the second axis
        rows = original.T if transposed else original
        rows = rows.reshape(self.group, rows.shape[0] // self.group, -1)
        scale = self.weight.scale.reshape(self.group, -1).astype(np.float64)
        integers = round_by_covariance(rows.astype(np.float64), scale, covariance)
        integers = integers.reshape(-1, integers.shape[2])
        shaped = integers.T if transposed else integers
        return np.ascontiguousarray(shaped.reshape(original.shape))


def output_mean(
    layer: Layer, group: int, weight: npt.NDArray[np.float64], means: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean output without bias, (channels,), from the mean of what the weights multiply.

    Args:
        layer: which.
        group: of a Conv.
        weight: as the layer has it.
        means: (channels, *kernel) of Conv and ConvTranspose, (features,) of Gemm.
    """
    if layer.op == "Gemm":
        rows = weight if layer.axis == 0 else weight.T
        return np.array([np.sum(row * means) for row in rows])
    if layer.op == "ConvTranspose":
        return np.array([np.sum(weight[:, c] * means) for c in range(weight.shape[1])])
    grouped = means.reshape(group, -1)
    outputs = weight.shape[0] // group
    return np.array([np.sum(row.reshape(-1) * grouped[c // outputs]) for c, row in enumerate(weight)])
