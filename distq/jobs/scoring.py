"""Fan candidates of one tensor out over workers and image shards, and bring their scores back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distq.graph.heads import with_places
from distq.graph.plan import Plan, Quantizer, make_plan
from distq.graph.probes import shares
from distq.graph.qdq import export
from distq.graph.rows import with_threshold
from distq.graph.state import (
    PARTS,
    Constants,
    Names,
    State,
    bias_constants,
    encoding_constants,
    initial_state,
    quantizer_constants,
    readers,
)
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.quant.scheme import Encoding
from distq.quant.table import Table
from distq.replica import int8
from distq.replica.cuts import Advance
from distq.replica.float32 import Outputs
from distq.replica.int8 import Score
from distq.replica.numbers import Numbers
from distq.replica.tensor import Scored, SearchTensor, Tuned, nmse_by_image
from distq.replica.worker import Blob
from distq.search.metrics import mean_squared
from distq.search.strategy import Strategy

Diffs = npt.NDArray[np.float64]
Errors = npt.NDArray[np.float64]


class Scorer(ABC):
    """Scores thresholds of one quantizer with all others as they are.

    An output that the tensor does not reach keeps the error it had; so only what lies behind the tensor runs.
    """

    knows_current = True
    """Whether the state as it is scores the same before and after a quantizer joins the INT8 part."""

    def __init__(self, job: Job, current: Errors) -> None:
        self.job = job
        self.names = Names.free_in(job.loaded.model)
        self._current = current  # squared error (images, outputs) of the state as decided so far
        self._encodings: dict[float, Encoding] = {}  # of the thresholds scored
        self._scored: tuple[str, Scored] | None = None  # of the quantizer of that name

    def score(
        self,
        quantizer: Quantizer,
        thresholds: Sequence[float],
        table: Table,
        state: State,
        images: int | None = None,
    ) -> dict[float, Diffs]:
        """Diff per image, (images,), of each threshold on the first images (None: all).

        Known ones are not run again, and thresholds that come to the same scale run once: no threshold
        beyond what a tensor holds changes anything.
        """
        wanted = len(self._current) if images is None else images
        cutter = self.cutter(quantizer, table, state)
        if self._scored is None or self._scored[0] != quantizer.name:
            self._scored = quantizer.name, Scored(self._current, cutter.reached(quantizer))
        _, scored = self._scored
        if self.knows_current:
            scored.errors[state.encodings[quantizer.name]] = self._current
        own = {t: cutter.encoding(quantizer, t, table) for t in thresholds}
        scored.extend(
            dict.fromkeys(own.values()), wanted, lambda new, part: cutter.errors(quantizer, new, state, part)
        )
        self._encodings |= own
        return {t: self.diff(scored.errors[encoding]) for t, encoding in own.items()}

    def decide(self, threshold: float) -> None:
        """The quantizer scored last gets this threshold."""
        if self._scored is not None and threshold in self._encodings:
            self.take(self._scored[1].errors[self._encodings[threshold]])
        self._encodings, self._scored = {}, None

    def take(self, errors: Errors) -> None:
        """These are the errors now, where they are of all images."""
        if len(errors) == len(self._current):
            self._current = errors

    @abstractmethod
    def diff(self, error: Errors) -> Diffs:
        """What a strategy compares, (images,), from squared errors (images, outputs)."""

    @abstractmethod
    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """The network that the quantizer is scored in."""


class NetworkScorer(Scorer):
    """Scores the whole network in INT8, on the kernels that ship: distq's own measure, NMSE by image.

    Of the parts of the outputs, where these are put together.
    """

    def __init__(self, job: Job, state: State) -> None:
        job = replace(job, float_model=job.float_parts)
        names = Names.free_in(job.loaded.model)
        exported = with_places(export(job.loaded.model, job.plan, state), job.places)
        fused = job.fuse(exported)
        self._cutter = Cutter(job, job.plan, fused, names)
        self._power = float_power(job)[0]
        super().__init__(job, self._cutter.current([state])[0])

    def diffs(self, states: Sequence[State]) -> list[Diffs]:
        """Diff per tuning image, (images,), of other numbers on the same plan and weights."""
        return [self.diff(error) for error in self._cutter.current(states)]

    def diff(self, error: Errors) -> Diffs:
        """NMSE of each image; the mean over images is the NMSE."""
        return nmse_by_image(error, self._power, len(self._current))

    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """One network for all quantizers."""
        del quantizer, table, state
        return self._cutter

    def whole_search(
        self, strategy: Strategy, quantizer: Quantizer, table: Table, state: State, affinity: int
    ) -> SearchTensor:
        """The unit that searches a quantizer by itself."""
        job, cutter = self._cutter.job, self._cutter
        return SearchTensor(
            strategy,
            Tuned.of(job.plan, quantizer, table[quantizer.name], state, self.names),
            cutter.before(quantizer, state),
            cutter.touched(quantizer),
            cutter.reached(quantizer),
            self._current,
            self._power,
            job.float_model,
            tuple(job.readable(job.selection.tuning)),
            affinity,
        )


class PrefixScorer(Scorer):
    """Scores as the serial tuner does: INT8 up to the tensor, float behind it (REFERENCE.md 1.1).

    Each tensor has a network of its own. The next one is made while workers score in the one before: it
    depends on where quantizers stand, and their numbers are fed.
    """

    knows_current = False

    def __init__(self, job: Job, state: State, searched: Sequence[Quantizer]) -> None:
        """Take the numbers that networks are made with, and the tensors in the order of the search."""
        power, self._elements = float_power(job)
        self._start = state
        self._order = [q.name for q in job.plan.quantizers]
        self._searched = [q.name for q in searched]
        self._cutters: dict[str, Cutter] = {}
        self._thread = ThreadPoolExecutor(1)
        self._making: dict[str, Future[Cutter]] = {}
        super().__init__(job, np.zeros((len(job.readable(job.selection.tuning)), power.size)))

    def diff(self, error: Errors) -> Diffs:
        """Mean squared difference of each image, summed over outputs."""
        return mean_squared(error, self._elements)

    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """A network a quantizer, with everything behind it in float."""
        del table, state
        name = quantizer.name
        if name not in self._cutters:
            making = self._making.pop(name, None) or self._thread.submit(self._make, name)
            self._cutters = {name: making.result()}
            for following in self._searched[self._searched.index(name) + 1 :][:1]:
                self._making[following] = self._thread.submit(self._make, following)
        return self._cutters[name]

    def _make(self, name: str) -> Cutter:
        """The network that is INT8 up to a quantizer, fused and shared with the workers."""
        job, start = self.job, self._start
        decided = self._order[: self._order.index(name) + 1]
        wide = [q.name for q in job.plan.quantizers if q.bits == 16 and q.name in decided]
        plan = make_plan(
            job.loaded.model, job.plan.target, job.plan.scheme, tie=False, only=decided, int16=wide
        )
        part = initial_state(
            job.loaded.model, plan, {q.name: start.encodings[q.name] for q in plan.quantizers}
        )
        part = part.with_biases({layer: start.biases[layer] for layer in part.biases})
        fused = job.fuse(export(job.loaded.model, plan, set_apart(part)))
        return Cutter(job, plan, fused, self.names, float_network=True)


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

    def reached(self, quantizer: Quantizer) -> npt.NDArray[np.bool_]:
        """Which network outputs depend on a quantizer, (outputs,)."""
        behind = self._network.behind(self.touched(quantizer))
        return np.array([self._network.producer[o] in behind for o in self._network.outputs])

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

    def encoding(self, quantizer: Quantizer, threshold: float, table: Table) -> Encoding:
        """What a threshold comes to."""
        return with_threshold(self._plan, quantizer, table[quantizer.name], threshold, "search").encoding

    def errors(
        self,
        quantizer: Quantizer,
        encodings: Sequence[Encoding],
        state: State,
        images: tuple[int, int],
    ) -> Errors:
        """Squared errors (candidates, images, outputs) on tuning images ``images[0]`` to ``images[1]``."""
        job, plan, names = self.job, self._plan, self._names
        touched = self.touched(quantizer)
        candidates = tuple(
            quantizer_constants(plan, state.with_encoding(quantizer.name, encoding), names, quantizer.name)
            for encoding in encodings
        )
        advance = self.before(quantizer, state)
        tuning = job.readable(job.selection.tuning)
        hands = turns(tuning, *images, job.executor.workers)
        units = [
            Score(advance, touched, candidates, job.float_model, hand.indices, hand.turn) for hand in hands
        ]
        return in_order(self._errors(units), hands, axis=1)

    def before(self, quantizer: Quantizer, state: State) -> Advance:
        """What brings samples to the cut before a quantizer."""
        network = self._network
        return self._advance(state, network.frontier(network.behind(self.touched(quantizer))))

    def _advance(self, state: State, cut: tuple[str, ...]) -> Advance:
        if self._numbers is None or self._numbers[0] is not state:
            constants = small_constants(self._plan, state, self._names)
            self._numbers = state, Numbers.of(constants, self.job.executor.share)
        numbers = self._numbers[1]
        return Advance(self._blob, self.job.data, numbers, cut, self._shares, self._float_network)

    def _errors(self, units: Sequence[Score | int8.Errors]) -> list[Errors]:
        results = list(self.job.results(units))
        self.job.count_int8(units, results)
        return [result["error"] for result in results]


TURNS, TOGETHER = 4, 2
"""Images are dealt out like cards, two at a time, in this many turns or more, as many for each worker.

The first few are spread over the workers, and an image always goes to the same turn. Smaller hands cost more
to send than they gain; with these, 1, 2 and 4 workers run the same units, so that a search that goes on with
another of these numbers finds what is done.
"""


@dataclass(frozen=True)
class Hand:
    """The images of one turn: which turn it is, which samples, and where these stand among all dealt."""

    turn: int
    indices: tuple[int, ...]
    positions: tuple[int, ...]


def turns(indices: Sequence[int], start: int, end: int, workers: int) -> list[Hand]:
    """Samples from ``start`` to ``end`` dealt out, a hand each turn; its turn is its affinity."""
    number = workers * -(-TURNS // workers)
    dealt: dict[int, list[int]] = {}
    for position in range(start, min(end, len(indices))):
        dealt.setdefault(position // TOGETHER % number, []).append(position)
    return [
        Hand(turn, tuple(indices[p] for p in positions), tuple(p - start for p in positions))
        for turn, positions in dealt.items()
    ]


def in_order(arrays: Sequence[Errors], hands: Sequence[Hand], axis: int) -> Errors:
    """Arrays of each hand, with its images along an axis, as one with all images in their order."""
    order = np.argsort([position for hand in hands for position in hand.positions])
    return np.take(np.concatenate(arrays, axis), order, axis)


def set_apart(state: State) -> State:
    """The same numbers with every scale a little different, for fusing only; the real ones are fed.

    ONNX Runtime drops a quantizer behind MaxPool and the like when its scale equals the one before it, as at
    the start of a search. What it drops could not be searched.
    """
    moved = {
        name: replace(encoding, scale=encoding.scale * (1 + i * 2.0**-12))
        for i, (name, encoding) in enumerate(state.encodings.items())
    }
    return replace(state, encodings=moved)


def small_constants(plan: Plan, state: State, names: Names) -> Constants:
    """All constants but the weights: what a search changes, small enough to travel with every unit."""
    found: Constants = {}
    for quantizer in plan.quantizers:
        found |= encoding_constants(quantizer.name, state.encodings[quantizer.name], names)
    for layer in plan.layers:
        found |= bias_constants(plan, state, names, layer)
    return found


def float_power(job: Job) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Power of each float output summed over the tuning images, (outputs,), and their element counts."""
    tuning = job.readable(job.selection.tuning)
    hands = turns(tuning, 0, len(tuning), job.executor.workers)
    units = [Outputs(job.float_model, job.data, hand.indices, hand.turn) for hand in hands]
    results = list(job.images("float outputs", units))
    job.cost_so_far.fp32_forwards += len(tuning)
    power = in_order([result["power"] for result in results], hands, axis=0)
    return np.array([np.sum(column) for column in power.T]), results[0]["elements"]
