"""Unit that rounds one layer's weights for its quantized inputs and gives the mean its output then has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from distq.graph.integer_weight import IntegerWeight, as_rows, from_rows
from distq.graph.layers import Layer
from distq.graph.subpixel import by_phase
from distq.quant.pairs import within_pairs
from distq.quant.rounding import OUTPUTS_TOGETHER, Factor, factor_of, round_by_factor
from distq.quant.scheme import Scales, on_channels
from distq.replica.keys import arrays_key, content_key
from distq.replica.moments import InputMoments, total
from distq.replica.worker import Arrays, Worker

LEAST_DIVIDED, MOST_PARTS = 1 << 18, 4
"""Weights of a layer that several units round, and how many: rounding fewer is quicker than sending them."""

_ROWS = 64
"""Of weights that are multiplied by means at a time."""

_FACTOR = "factor"


@dataclass(frozen=True)
class Correction:
    """One layer, from the moments of what it reads.

    Attributes:
        layer: which.
        step: scale of its input, or of each channel of it.
        weight: as it is.
        original: in float, where it is to be rounded anew.
        measuring: the units that measure what it reads, each on some of the samples.
        moments: what they found in all; None: this unit runs them. Not part of the identity.
    """

    layer: Layer
    step: Scales
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
        own = (self.layer.op, self.layer.axis, self.weight.axis, self.weight.room, self._group, self.step)
        return content_key("correction", *own, arrays_key(arrays), self.input_key)

    @cached_property
    def input_key(self) -> str:
        """Identity of what is measured: the same for all layers that read it, however samples are divided."""
        first, indices = self.measuring[0], sorted(i for unit in self.measuring for i in unit.indices)
        return content_key("measured", first.advance.key, asdict(first.input), indices)

    def parts(self) -> list[Correction]:
        """Units that each correct some of the outputs of a large layer, together the same to the bit."""
        axis, original = self.weight.axis, self.original
        if axis is None or original is None or self._group > 1 or original.size < LEAST_DIVIDED:
            return [self]
        if self.layer.op == "ConvTranspose":  # its rows are in the order of phases, which parts would change
            return [self]
        outputs = original.shape[axis]
        whole = np.array_split(np.arange(-(-outputs // OUTPUTS_TOGETHER)), MOST_PARTS)
        ranges = [range(p[0] * OUTPUTS_TOGETHER, (p[-1] + 1) * OUTPUTS_TOGETHER) for p in whole if len(p)]
        return [self._part(range(outputs)[part.start : part.stop], axis, original) for part in ranges]

    def _part(self, outputs: range, axis: int, original: npt.NDArray[np.float32]) -> Correction:
        own = np.s_[outputs.start : outputs.stop]
        along = np.s_[(*(slice(None),) * axis, own)]
        scale = self.weight.scale[own] if self.weight.scale.ndim else self.weight.scale
        weight = replace(self.weight, integers=self.weight.integers[along], scale=scale)
        return replace(self, weight=weight, original=original[along])

    def joined(self, results: Sequence[Arrays]) -> Arrays:
        """What this unit would have found, from what its parts did."""
        if len(results) == 1:
            return results[0]
        return {
            "integers": np.concatenate([result["integers"] for result in results], self.weight.axis or 0),
            "mean": np.concatenate([result["mean"] for result in results]),
            "forwards": np.sum([result["forwards"] for result in results]),
        }

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
            weight = replace(weight, integers=self._rounded(worker, self.original, moments))
        means = moments["sum"].astype(np.float64) / float(moments["positions"])
        means *= on_channels(self.step, means.ndim)
        mean = output_mean(self.layer, self._group, weight.dequantized(), means)
        return {"integers": weight.integers, "mean": mean, "forwards": moments["forwards"]}

    @property
    def _group(self) -> int:
        return self.measuring[0].input.geometry.group

    def _factor(self, worker: Worker, moments: Arrays) -> Factor:
        """Of the covariance of the inputs; the last one is kept: the next unit may be of the same inputs."""
        key, factor = worker.get(_FACTOR) or ("", None)
        if key != self.input_key:
            count = float(moments["samples"])
            means = moments["means"] / count
            covariance = moments["products"] / count
            covariance -= means[:, :, None] * means[:, None, :]
            factor = factor_of(covariance, count)
            worker.keep(_FACTOR, (self.input_key, factor), factor.nbytes)
        return cast("Factor", factor)

    def _rounded(
        self, worker: Worker, original: npt.NDArray[np.float32], moments: Arrays
    ) -> npt.NDArray[np.int8]:
        phases = self.measuring[0].input.geometry.strides if self.layer.op == "ConvTranspose" else ()
        axis = self.layer.axis or 0
        rows = as_rows(original, axis, phases)
        blocks = self.measuring[0].input.blocks
        shape = (self._group, rows.shape[0] // self._group, blocks, -1)
        apart = rows.reshape(shape).transpose(0, 2, 1, 3)
        scales = by_phase(self.weight.scale, phases)
        steps = np.broadcast_to(scales, rows.shape[:1]).reshape(self._group, -1)
        scale = np.repeat(steps, blocks, axis=0).astype(np.float64)
        factor = self._factor(worker, moments)
        integers = round_by_factor(
            apart.reshape(len(scale), *apart.shape[2:]), scale, factor, self.weight.largest
        )
        together = integers.reshape(apart.shape).transpose(0, 2, 1, 3).reshape(rows.shape)
        kept = within_pairs(together) if self.weight.room == "pairs" else together
        return from_rows(kept, axis, phases, original.shape[2:])


def with_moments(units: Sequence[Correction], found: Mapping[str, Arrays]) -> list[Correction]:
    """Units with what was measured for them, by ``input_key``; the first of an input has the forwards."""
    counted: set[str] = set()
    given = []
    for unit in units:
        moments = found[unit.input_key]
        if unit.input_key in counted:
            moments = {**moments, "forwards": np.zeros(())}
        counted.add(unit.input_key)
        given.append(replace(unit, moments=moments))
    return given


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
        rows = weight if layer.axis == 0 else np.ascontiguousarray(weight.T)
        parts = (rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS))
        return np.concatenate([np.sum(part * means, axis=1) for part in parts])
    if layer.op == "ConvTranspose":
        return np.array([np.sum(weight[:, c] * means) for c in range(weight.shape[1])])
    grouped = means.reshape(group, -1)
    outputs = weight.shape[0] // group
    return np.array([np.sum(row.reshape(-1) * grouped[c // outputs]) for c, row in enumerate(weight)])
