"""Fan candidates of one tensor out over workers and image shards, and bring their scores back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.graph.heads import with_places
from distq.graph.plan import Quantizer, make_plan
from distq.graph.qdq import export
from distq.graph.state import (
    Names,
    State,
    initial_state,
)
from distq.jobs.context import Job
from distq.jobs.cutter import Cutter
from distq.jobs.dealing import in_order, turns
from distq.quant.scheme import Encoding
from distq.quant.table import Table
from distq.replica.float32 import Outputs
from distq.replica.tensor import Errors, Scored, SearchTensor, nmse_by_image
from distq.search.metrics import mean_squared
from distq.search.strategy import Strategy

Diffs = npt.NDArray[np.float64]


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
        tuned = cutter.tuned(quantizer, table[quantizer.name], state)
        if self.knows_current:
            scored.errors[tuned.current] = self._current
        own = {t: tuned.encoding(t) for t in thresholds}
        scored.extend(
            dict.fromkeys(own.values()), wanted, lambda new, part: cutter.errors(tuned, new, state, part)
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
            cutter.tuned(quantizer, table[quantizer.name], state),
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


def float_power(job: Job) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Power of each float output summed over the tuning images, (outputs,), and their element counts."""
    tuning = job.readable(job.selection.tuning)
    hands = turns(tuning, 0, len(tuning), job.executor.workers)
    units = [Outputs(job.float_model, job.data, hand.indices, hand.turn) for hand in hands]
    results = list(job.images("float outputs", units))
    job.cost_so_far.fp32_forwards += len(tuning)
    power = in_order([result["power"] for result in results], hands, axis=0)
    return np.array([np.sum(column) for column in power.T]), results[0]["elements"]
