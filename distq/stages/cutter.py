"""One fused network, cut before the tensor whose candidates are scored, on all workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.engine.portions import in_order, portions
from distq.graph.names import PARTS, Names
from distq.graph.network_cost import shares
from distq.graph.plan import Quantizer
from distq.graph.state import State, readers, small_constants
from distq.graph.subgraph import Network
from distq.quant.scheme import Encoding
from distq.quant.table import Row
from distq.replica import int8
from distq.replica.cuts import Advance
from distq.replica.int8 import Score
from distq.replica.numbers import Numbers
from distq.replica.tensor import Errors, Tuned
from distq.replica.worker import Blob
from distq.run.context import Run
from distq.stages.form import Form
from distq.stages.fused import Fused


class Cutter:
    """One fused network, cut before the tensor whose candidates are scored."""

    def __init__(
        self,
        run: Run,
        form: Form,
        fused: Fused,
        reference: Blob,
        *,
        float_network: bool = False,
        by_measure: bool = True,
    ) -> None:
        """Take what is cut.

        Args:
            run: gives workers and samples.
            form: whose network and plan these are.
            fused: the graph that is run for it.
            reference: the float network whose outputs candidates are compared with.
            float_network: most of the fused graph is in float.
            by_measure: candidates go by what the run lowers; else by their squared error.
        """
        self.run = run
        self.reference = reference
        self._lowered = run.lowered if by_measure else None
        self._float_network = float_network
        self._plan = form.plan
        self._names = Names.free_in(form.model)
        self._integers = fused.integers
        self._network = Network(fused.graph)
        self._blob: Blob = run.executor.share(fused.graph)
        self._shares = shares(form.model)
        self._numbers: tuple[State, Numbers] | None = None
        self._cuts: dict[str, tuple[str, ...]] = {}

    def reached(self, quantizer: Quantizer) -> npt.NDArray[np.bool_]:
        """Which outputs' errors depend on a quantizer, (outputs,); a measure's loss stands in all of them."""
        behind = self._network.behind(self.touched(quantizer))
        found = np.array([self._network.reaches(behind, o) for o in self._network.outputs])
        return found if self._lowered is None else np.full(found.shape, found.any())

    def touched(self, quantizer: Quantizer) -> tuple[str, ...]:
        """What candidates of a quantizer change: integer tensors, its constants and its readers' biases."""
        names = self._names
        biases = [
            f"{names.bias(layer.name)}_{part}"
            for layer in readers(self._plan, quantizer.name)
            for part in PARTS
        ]
        own = (names.scale(quantizer.name), names.zero_point(quantizer.name))
        held = dict.fromkeys(self._integers[tensor] for tensor in quantizer.tensors)
        return (*held, *own, *biases)

    def current(self, states: Sequence[State]) -> list[Errors]:
        """Squared errors (images, outputs) of states as they are; equal ones are run once."""
        tuning = self.run.tuning
        parts = portions(tuning, 0, len(tuning), self.run.executor.workers)
        advances = [self._advance(state, tuple(self._network.outputs)) for state in states]
        different = {advance.key: advance for advance in advances}
        units = [
            int8.Errors(advance, self.reference, part.indices, part.number, self._lowered)
            for advance in different.values()
            for part in parts
        ]
        errors = self._errors(units)
        found = {
            key: in_order(errors[i * len(parts) : (i + 1) * len(parts)], parts, 0)
            for i, key in enumerate(different)
        }
        return [found[advance.key] for advance in advances]

    def tuned(self, quantizer: Quantizer, row: Row, state: State) -> Tuned:
        """A quantizer with the numbers that follow its threshold."""
        return Tuned.of(self._plan, quantizer, row, state, self._names)

    def errors(
        self, tuned: Tuned, encodings: Sequence[Encoding], state: State, images: tuple[int, int]
    ) -> Errors:
        """Squared errors (candidates, images, outputs) on tuning samples ``images[0]`` to ``images[1]``."""
        touched = self.touched(tuned.quantizer)
        candidates = tuple(map(tuned.constants, encodings))
        advance = self.before(tuned.quantizer, state)
        parts = portions(self.run.tuning, *images, self.run.executor.workers)
        units = [
            Score(advance, touched, candidates, self.reference, part.indices, part.number, self._lowered)
            for part in parts
        ]
        return in_order(self._errors(units), parts, axis=1)

    def share_behind(self, quantizer: Quantizer) -> float:
        """What part of the network's work a candidate of a quantizer costs."""
        behind = self._network.behind(self.touched(quantizer))
        return sum(self._shares.get(self._network.nodes[i].name, 0.0) for i in behind)

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
            self._numbers = state, Numbers.of(constants, self.run.executor.share)
        numbers = self._numbers[1]
        return Advance(self._blob, self.run.data, numbers, cut, self._shares, self._float_network, again)

    def _errors(self, units: Sequence[Score | int8.Errors]) -> list[Errors]:
        results = list(self.run.results(units))
        self.run.count_int8(units, results)
        return [result["error"] for result in results]
