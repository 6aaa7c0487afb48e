"""Fan candidates of one tensor out over workers and image shards, and bring their scores back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.graph.plan import Plan, Quantizer, make_plan
from distq.graph.probes import multiplications
from distq.graph.qdq import export
from distq.graph.state import (
    Constants,
    Names,
    State,
    bias_constants,
    encoding_constants,
    initial_state,
    quantizer_constants,
)
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.jobs.thresholds import with_threshold
from distq.quant.table import Table
from distq.replica import int8
from distq.replica.cuts import Advance, Numbers
from distq.replica.float32 import Outputs
from distq.replica.int8 import Score
from distq.replica.session import fuse
from distq.replica.worker import Blob, WorkerSettings
from distq.search.metrics import mean_squared, per_image_diff

Diffs = npt.NDArray[np.float64]
Errors = npt.NDArray[np.float64]


class Scorer(ABC):
    """Scores thresholds of one quantizer with all others as they are.

    An output that the tensor does not reach keeps the error it had; so only what lies behind the tensor runs.
    """

    def __init__(self, job: Job, current: Errors) -> None:
        self.job = job
        self.names = Names.free_in(job.loaded.model)
        self._current = current  # squared error (images, outputs) of the state as decided so far
        self._scored: dict[float, Errors] = {}

    def score(
        self, quantizer: Quantizer, thresholds: Sequence[float], table: Table, state: State
    ) -> dict[float, Diffs]:
        """Diff per image, (images,), of each threshold."""
        cutter = self.cutter(quantizer, table, state)
        reached = cutter.reached(quantizer)
        errors = cutter.errors(quantizer, thresholds, table, state)
        for threshold, error in zip(thresholds, errors, strict=True):
            self._scored[threshold] = np.where(reached, error, self._current)
        return {t: self.diff(self._scored[t]) for t in thresholds}

    def decide(self, threshold: float) -> None:
        """The quantizer scored last gets this threshold."""
        self._current = self._scored.get(threshold, self._current)
        self._scored = {}

    @abstractmethod
    def diff(self, error: Errors) -> Diffs:
        """What a strategy compares, (images,), from squared errors (images, outputs)."""

    @abstractmethod
    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """The network that the quantizer is scored in."""


class NetworkScorer(Scorer):
    """Scores the whole network in INT8, on the kernels that ship: distq's own measure, NMSE by image."""

    def __init__(self, job: Job, state: State) -> None:
        names = Names.free_in(job.loaded.model)
        fused = fuse(export(job.loaded.model, job.plan, state), WorkerSettings(job.options.device))
        self._cutter = Cutter(job, job.plan, fused, names)
        self._power = float_power(job)[0]
        super().__init__(job, self._cutter.current(state))

    def diff(self, error: Errors) -> Diffs:
        """NMSE of each image; the mean over images is the NMSE."""
        return per_image_diff(error, self._power)

    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """One network for all quantizers."""
        del quantizer, table, state
        return self._cutter


class PrefixScorer(Scorer):
    """Scores as the serial tuner does: INT8 up to the tensor, float behind it (REFERENCE.md 1.1)."""

    def __init__(self, job: Job) -> None:
        power, self._elements = float_power(job)
        self._order = [q.name for q in job.plan.quantizers]
        self._cutters: dict[str, Cutter] = {}
        super().__init__(job, np.zeros((len(job.readable(job.selection.tuning)), power.size)))

    def diff(self, error: Errors) -> Diffs:
        """Mean squared difference of each image, summed over outputs."""
        return mean_squared(error, self._elements)

    def cutter(self, quantizer: Quantizer, table: Table, state: State) -> Cutter:
        """A network a quantizer, with everything behind it in float."""
        if quantizer.name not in self._cutters:
            job = self.job
            decided = self._order[: self._order.index(quantizer.name) + 1]
            plan = make_plan(job.loaded.model, job.plan.target, job.plan.scheme, tie=False, only=decided)
            part = initial_state(
                job.loaded.model, plan, {q.name: table[q.name].encoding for q in plan.quantizers}
            )
            part = part.with_biases({name: state.biases[name] for name in part.biases})
            fused = fuse(export(job.loaded.model, plan, part), WorkerSettings(job.options.device))
            self._cutters = {quantizer.name: Cutter(job, plan, fused, self.names)}
        return self._cutters[quantizer.name]


class Cutter:
    """One fused network, cut before the tensor whose candidates are scored."""

    def __init__(self, job: Job, plan: Plan, fused: bytes, names: Names) -> None:
        self._job = job
        self._plan = plan
        self._names = names
        self._network = Network(fused)
        self._blob: Blob = job.executor.share(fused)
        self._costs = multiplications(job.loaded.model)
        self._base: tuple[str, ...] | None = None

    def reached(self, quantizer: Quantizer) -> npt.NDArray[np.bool_]:
        """Which network outputs depend on a quantizer, (outputs,)."""
        behind = self._network.behind([self._names.quantized(t) for t in quantizer.tensors])
        return np.array([self._network.producer[o] in behind for o in self._network.outputs])

    def current(self, state: State) -> Errors:
        """Squared errors (images, outputs) of the state as it is."""
        job, outputs = self._job, tuple(self._network.outputs)
        numbers = Numbers(small_constants(self._plan, state, self._names))
        advance = Advance(self._blob, job.data, numbers, outputs, None)
        units = [int8.Errors(advance, job.float_model, shard) for shard in job.shards(job.selection.tuning)]
        job.int8_forwards += len(job.readable(job.selection.tuning))
        return np.concatenate([result["error"] for result in job.images("INT8 outputs", units)])

    def errors(
        self, quantizer: Quantizer, thresholds: Sequence[float], table: Table, state: State
    ) -> npt.NDArray[np.float64]:
        """Squared errors (candidates, images, outputs)."""
        job, network, plan, names = self._job, self._network, self._plan, self._names
        tensors = tuple(names.quantized(t) for t in quantizer.tensors)
        tail = network.behind(tensors)
        cut = network.frontier(tail)
        candidates = tuple(
            quantizer_constants(
                plan, state.with_encoding(quantizer.name, row.encoding), names, quantizer.name
            )
            for row in (
                with_threshold(plan, quantizer, table[quantizer.name], t, "search") for t in thresholds
            )
        )
        advance = Advance(self._blob, job.data, Numbers(small_constants(plan, state, names)), cut, self._base)
        units = [
            Score(advance, tensors, candidates, job.float_model, shard)
            for shard in job.shards(job.selection.tuning)
        ]
        error = np.concatenate([result["error"] for result in job.results(units)], axis=1)
        images = error.shape[1]
        job.int8_forwards += self._share(tail) * images * len(thresholds)
        if self._base != cut:
            job.int8_forwards += self._share(network.before(cut, self._base or ())) * images
        self._base = cut
        return error

    def _share(self, nodes: frozenset[int]) -> float:
        """What part of the network's multiplications these nodes do."""
        total = sum(self._costs.values()) or 1.0
        return sum(self._costs.get(self._network.nodes[i].name, 0.0) for i in nodes) / total


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
    units = [Outputs(job.float_model, job.data, shard) for shard in job.shards(job.selection.tuning)]
    results = list(job.images("float outputs", units))
    job.fp32_forwards += len(job.readable(job.selection.tuning))
    power = np.concatenate([r["power"] for r in results])
    return np.array([np.sum(column) for column in power.T]), results[0]["elements"]
