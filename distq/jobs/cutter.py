"""One fused network, cut before the tensor whose candidates are scored, on all workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.graph.plan import Plan, Quantizer
from distq.graph.probes import shares
from distq.graph.state import (
    PARTS,
    Constants,
    Names,
    State,
    bias_constants,
    encoding_constants,
    readers,
)
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.jobs.dealing import in_order, turns
from distq.quant.scheme import Encoding
from distq.quant.table import Row
from distq.replica import int8
from distq.replica.cuts import Advance
from distq.replica.int8 import Score
from distq.replica.numbers import Numbers
from distq.replica.tensor import Errors, Tuned
from distq.replica.worker import Blob


class Cutter:
    """One fused network, cut before the tensor whose candidates are scored."""

    def __init__(
        self, job: Job, plan: Plan, fused: bytes, names: Names, *, float_network: bool = False
    ) -> None:
        self.job = job
        self._float_network = float_network
        self._plan = plan
        self._names = names
        self._network = Network(fused)
        self._blob: Blob = job.executor.share(fused)
        self._shares = shares(job.loaded.model)
        self._numbers: tuple[State, Numbers] | None = None
        self._cuts: dict[str, tuple[str, ...]] = {}

    def reached(self, quantizer: Quantizer) -> npt.NDArray[np.bool_]:
        """Which network outputs depend on a quantizer, (outputs,)."""
        behind = self._network.behind(self.touched(quantizer))
        return np.array([self._network.reaches(behind, o) for o in self._network.outputs])

    def touched(self, quantizer: Quantizer) -> tuple[str, ...]:
        """What candidates of a quantizer change: integer tensors, its constants and its readers' biases."""
        names = self._names
        biases = [
            f"{names.bias(layer.name)}_{part}"
            for layer in readers(self._plan, quantizer.name)
            for part in PARTS
        ]
        own = (names.scale(quantizer.name), names.zero_point(quantizer.name))
        return (*(names.quantized(t) for t in quantizer.tensors), *own, *biases)

    def current(self, states: Sequence[State]) -> list[Errors]:
        """Squared errors (images, outputs) of states as they are."""
        job = self.job
        tuning = job.readable(job.selection.tuning)
        hands = turns(tuning, 0, len(tuning), job.executor.workers)
        advances = [self._advance(state, tuple(self._network.outputs)) for state in states]
        units = [
            int8.Errors(advance, job.float_model, hand.indices, hand.turn)
            for advance in advances
            for hand in hands
        ]
        errors = self._errors(units)
        return [in_order(errors[i : i + len(hands)], hands, 0) for i in range(0, len(errors), len(hands))]

    def tuned(self, quantizer: Quantizer, row: Row, state: State) -> Tuned:
        """A quantizer with the numbers that follow its threshold."""
        return Tuned.of(self._plan, quantizer, row, state, self._names)

    def errors(
        self, tuned: Tuned, encodings: Sequence[Encoding], state: State, images: tuple[int, int]
    ) -> Errors:
        """Squared errors (candidates, images, outputs) on tuning images ``images[0]`` to ``images[1]``."""
        job = self.job
        touched = self.touched(tuned.quantizer)
        candidates = tuple(map(tuned.constants, encodings))
        advance = self.before(tuned.quantizer, state)
        tuning = job.readable(job.selection.tuning)
        hands = turns(tuning, *images, job.executor.workers)
        units = [
            Score(advance, touched, candidates, job.float_model, hand.indices, hand.turn) for hand in hands
        ]
        return in_order(self._errors(units), hands, axis=1)

    def before(self, quantizer: Quantizer, state: State) -> Advance:
        """What brings samples to the cut before a quantizer."""
        return self._advance(state, self._cut(quantizer), self._again(quantizer))

    def _cut(self, quantizer: Quantizer) -> tuple[str, ...]:
        if quantizer.name not in self._cuts:
            behind = self._network.behind(self.touched(quantizer))
            self._cuts[quantizer.name] = self._network.frontier(behind)
        return self._cuts[quantizer.name]

    def _again(self, quantizer: Quantizer) -> frozenset[str]:
        """Where branches part: what has crossed a cut up to a quantizer's, and will cross one behind it."""
        order = self._plan.quantizers
        position = [other.name for other in order].index(quantizer.name) + 1
        if position == len(order):
            return frozenset()
        crossed, later = (
            {name for other in part for name in self._cut(other)}
            for part in (order[:position], order[position:])
        )
        return frozenset(crossed & later)

    def _advance(self, state: State, cut: tuple[str, ...], again: frozenset[str] = frozenset()) -> Advance:
        if self._numbers is None or self._numbers[0] is not state:
            constants = small_constants(self._plan, state, self._names)
            self._numbers = state, Numbers.of(constants, self.job.executor.share)
        numbers = self._numbers[1]
        return Advance(self._blob, self.job.data, numbers, cut, self._shares, self._float_network, again)

    def _errors(self, units: Sequence[Score | int8.Errors]) -> list[Errors]:
        results = list(self.job.results(units))
        self.job.count_int8(units, results)
        return [result["error"] for result in results]


def small_constants(plan: Plan, state: State, names: Names) -> Constants:
    """All constants but the weights: what a search changes, small enough to travel with every unit."""
    found: Constants = {}
    for quantizer in plan.quantizers:
        found |= encoding_constants(quantizer.name, state.encodings[quantizer.name], names)
    for layer in plan.layers:
        found |= bias_constants(plan, state, names, layer)
    return found
