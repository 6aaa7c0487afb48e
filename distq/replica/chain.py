"""Unit that corrects layers one after the other on one worker, each behind those it has corrected already."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec
from distq.files import sha256_bytes
from distq.graph.held_bias import HeldBias
from distq.graph.integer_weight import IntegerWeight
from distq.graph.layers import Layer
from distq.graph.moving_cut import MovingCut
from distq.graph.names import Constants, Names
from distq.graph.subpixel import as_conv
from distq.quant.scheme import Scales
from distq.replica.correction import Correction, with_moments
from distq.replica.cuts import Advance, open_network
from distq.replica.keys import arrays_key, content_key
from distq.replica.moments import InputMoments, LayerInput
from distq.replica.numbers import Numbers, Share
from distq.replica.worker import Arrays, Blob, Worker


@dataclass(frozen=True)
class Uncorrected:
    """A layer that waits for its correction.

    Attributes:
        layer: which.
        names: of the constants of the network it stands in.
        input: what it reads.
        step: scale of that, or of each channel of it.
        weight: as it is.
        original: in float, where it is to be rounded anew.
        mean: the output to restore, (channels,) float64.
        held: how the network holds its bias.
    """

    layer: Layer
    names: Names
    input: LayerInput
    step: Scales
    weight: IntegerWeight
    original: npt.NDArray[np.float32] | None
    mean: npt.NDArray[np.float64]
    held: HeldBias

    @cached_property
    def key(self) -> str:
        """Identity: everything that its correction depends on beside the network in front of it."""
        arrays: Arrays = {"integers": self.weight.integers, "scale": self.weight.scale, "mean": self.mean}
        if self.original is not None:
            arrays["original"] = self.original
        own = (
            asdict(self.layer),
            asdict(self.names),
            asdict(self.input),
            self.step,
            self.weight.axis,
            self.weight.room,
        )
        held: Arrays = {"held": self.held.weight_scale}
        if self.held.divisor is not None:
            held["divisor"] = self.held.divisor
        if self.held.offset is not None:
            held["offset"] = self.held.offset
        return content_key("uncorrected", *own, self.held.step, arrays_key(held), arrays_key(arrays))

    def correction(self, advance: Advance, pieces: Sequence[Sequence[int]]) -> Correction:
        """The unit that corrects it, measured on pieces of the samples."""
        measuring = [InputMoments(advance, self.input, piece) for piece in pieces]
        return Correction(self.layer, self.step, self.weight, self.original, measuring)

    @property
    def weight_name(self) -> str:
        """Of its integers in the network."""
        return f"{self.names.weight(self.layer.name)}_quantized"

    def bias(self, found: Arrays) -> npt.NDArray[np.float64]:
        """The bias that restores its mean, from what its correction found."""
        return self.mean - found["mean"]

    def bias_constants(self, found: Arrays) -> Constants:
        """That bias as the network holds it."""
        return self.held.constants(self.names, self.layer, self.bias(found))


Stages = Sequence[Sequence[Uncorrected]]
"""A stage's layers depend on earlier stages only, not on one another."""


@dataclass(frozen=True)
class Chain:
    """Stages of a network to correct in their order.

    Attributes:
        network: the fused INT8 network.
        data: where the samples are.
        shares: as :class:`~distq.replica.cuts.Advance` has them.
        numbers: constants of the network, and weights and biases of the layers that were corrected before.
        stages: what is to be corrected.
        earlier: inputs of the layers that were corrected before.
    """

    network: Blob
    data: DatasetSpec
    shares: Mapping[str, float]
    numbers: Numbers
    stages: Stages
    earlier: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Identity."""
        known = (self.earlier, self.numbers.key)
        stages = [[layer.key for layer in stage] for stage in self.stages]
        return content_key("chain", self.network.sha256, self.data.source, known, stages)

    def first(self, cut: MovingCut, pieces: Sequence[Sequence[int]]) -> list[Correction]:
        """The units of the first stage's layers.

        Args:
            cut: behind ``earlier``; it moves on behind what these layers read.
            pieces: of the samples they are measured on.
        """
        inputs = [layer.input.tensor for layer in self.stages[0]]
        cut.move_behind(inputs)
        # what stands before the cut alone reads some inputs
        crossing = tuple(dict.fromkeys((*cut.crossing, *inputs)))
        advance = Advance(self.network, self.data, self.numbers, crossing, self.shares)
        return [layer.correction(advance, pieces) for layer in self.stages[0]]

    def rest(self, found: Sequence[Arrays], share: Share, stages: int = 1) -> Chain:
        """What is left behind the first stages, from what their layers' units found."""
        biases: dict[str, npt.NDArray[Any]] = {}
        weights = {}
        corrected = [layer for stage in self.stages[:stages] for layer in stage]
        for layer, result in zip(corrected, found, strict=True):
            biases |= layer.bias_constants(result)
            stored = as_conv(result["integers"], layer.layer.subpixel)
            weights[layer.weight_name] = share(stored.tobytes())
        earlier = (*self.earlier, *(layer.input.tensor for layer in corrected))
        numbers = self.numbers.with_more(biases, share, weights)
        return replace(self, numbers=numbers, stages=self.stages[stages:], earlier=earlier)


@dataclass(frozen=True)
class CorrectChain:
    """All stages of a chain, without a round trip to the driver in between.

    Attributes:
        chain: what to correct.
        indices: of the samples that layers are measured on.
        affinity: see :class:`~distq.engine.executor.Unit`.
    """

    chain: Chain
    indices: Sequence[int]
    affinity: int | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("corrections", self.chain.key, self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        names = [layer.layer.name for stage in self.chain.stages for layer in stage]
        return f"weights of {' to '.join(dict.fromkeys((names[0], names[-1])))}"

    def run(self, worker: Worker) -> Arrays:
        """``i/integers`` and ``i/mean``, as the layer at position i got them; ``forwards`` of all."""
        chain, cut = self.chain, _cut_behind(worker, self.chain)
        found: list[Arrays] = []
        while chain.stages:
            units = chain.first(cut, [self.indices])
            inputs = {unit.input_key: unit.measuring[0] for unit in units}
            moments = {key: measuring.run(worker) for key, measuring in inputs.items()}
            results = [unit.run(worker) for unit in with_moments(units, moments)]
            found += results
            chain = chain.rest(results, _own)
        worker.keep(_place(chain), cut, 1 << 20)  # for the stages behind
        return {
            "forwards": np.sum([result["forwards"] for result in found]),
            **{f"{i}/{name}": result[name] for i, result in enumerate(found) for name in FOUND},
        }

    def each(self, result: Arrays) -> list[Arrays]:
        """What a run of this unit found, layer by layer."""
        layers = sum(map(len, self.chain.stages))
        return [{name: result[f"{i}/{name}"] for name in FOUND} for i in range(layers)]


FOUND = ("integers", "mean")
"""Of a layer."""


def _cut_behind(worker: Worker, chain: Chain) -> MovingCut:
    """The cut behind what was corrected earlier, where this worker left it or from the start."""
    place = _place(chain)
    cut: MovingCut | None = worker.get(place)
    if cut is None:
        cut = MovingCut(open_network(worker, chain.network))
        cut.move_behind(chain.earlier)
    worker.drop(place)
    return cut


def _place(chain: Chain) -> Hashable:
    return "moving cut", chain.network.sha256, chain.earlier


def _own(data: bytes) -> Blob:
    """Bytes that do not leave this process."""
    return Blob(sha256_bytes(data), data)
