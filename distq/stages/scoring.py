"""Candidates of one tensor sent to the workers, and their scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from distq.engine.portions import in_order, portions
from distq.graph.placement import make_plan
from distq.graph.plan import Quantizer
from distq.graph.state import State, initial_state
from distq.quant.scheme import Encoding
from distq.replica.float32 import Outputs
from distq.replica.tensor import Errors, Scored, SearchTensor, nmse_by_image
from distq.replica.worker import Blob
from distq.run.context import Run
from distq.search.metrics import mean_squared
from distq.search.strategy import Strategy
from distq.stages.cutter import Cutter
from distq.stages.form import Form
from distq.stages.fused import fused

Diffs = npt.NDArray[np.float64]


class Scorer(ABC):
    """Scores thresholds of one quantizer with all others as they are.

    An output that the tensor does not reach keeps the error it had; so only what lies behind the tensor runs.
    """

    knows_current = True
    """Whether the state as it is scores the same before and after a quantizer joins the INT8 part."""

    def __init__(self, run: Run, current: Errors) -> None:
        self.run = run
        self._current = current  # squared error (images, outputs) of the state as decided so far
        self._encodings: dict[float, Encoding] = {}  # of the thresholds scored
        self._scored: tuple[str, Scored] | None = None  # of the quantizer of that name

    def score(
        self,
        quantizer: Quantizer,
        thresholds: Sequence[float],
        form: Form,
        images: int | None = None,
    ) -> dict[float, Diffs]:
        """Diff per image, (images,), of each threshold on the first images (None: all).

        Known ones are not run again, and thresholds that come to the same scale run once: no threshold
        beyond what a tensor holds changes anything.
        """
        wanted = len(self._current) if images is None else images
        cutter = self.cutter(quantizer, form)
        if self._scored is None or self._scored[0] != quantizer.name:
            self._scored = quantizer.name, Scored(self._current, cutter.reached(quantizer))
        _, scored = self._scored
        tuned = cutter.tuned(quantizer, form.table[quantizer.name], form.state)
        if self.knows_current:
            scored.errors[tuned.current] = self._current
        own = {t: tuned.encoding(t) for t in thresholds}
        scored.extend(
            dict.fromkeys(own.values()), wanted, lambda new, part: cutter.errors(tuned, new, form.state, part)
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
    def cutter(self, quantizer: Quantizer, form: Form) -> Cutter:
        """The network that the quantizer is scored in."""


class NetworkScorer(Scorer):
    """Scores the whole network in INT8, on the kernels that ship: distq's own measure, NMSE by image.

    Of the parts of the outputs, where these are put together.
    """

    def __init__(self, run: Run, form: Form) -> None:
        self._cutter = Cutter(run, form, fused(run, form, parts=True), run.float_parts)
        self._power = float_power(run, run.float_parts)[0]
        super().__init__(run, self._cutter.current([form.state])[0])

    def diffs(self, states: Sequence[State]) -> list[Diffs]:
        """Diff per tuning image, (images,), of other numbers on the same plan and weights."""
        return [self.diff(error) for error in self._cutter.current(states)]

    def diff(self, error: Errors) -> Diffs:
        """NMSE of each image; the mean over images is the NMSE."""
        return nmse_by_image(error, self._power, len(self._current))

    def cutter(self, quantizer: Quantizer, form: Form) -> Cutter:
        """One network for all quantizers."""
        del quantizer, form
        return self._cutter

    def share_behind(self, quantizer: Quantizer) -> float:
        """What part of the network's work a candidate of a quantizer costs."""
        return self._cutter.share_behind(quantizer)

    def whole_search(
        self, strategy: Strategy, quantizer: Quantizer, form: Form, affinity: int
    ) -> SearchTensor:
        """The unit that searches a quantizer by itself."""
        cutter = self._cutter
        return SearchTensor(
            strategy,
            cutter.tuned(quantizer, form.table[quantizer.name], form.state),
            cutter.before(quantizer, form.state),
            cutter.touched(quantizer),
            cutter.reached(quantizer),
            self._current,
            self._power,
            cutter.reference,
            tuple(self.run.tuning),
            affinity,
            self.run.lowered,
        )


class PrefixScorer(Scorer):
    """Scores as the serial tuner does: INT8 up to the tensor, float behind it (REFERENCE.md 1.1).

    Each tensor has a network of its own. The next one is made while workers score in the one before: it
    depends on where quantizers stand, and their numbers are fed.
    """

    knows_current = False

    def __init__(self, run: Run, form: Form, searched: Sequence[Quantizer]) -> None:
        """Take the form that networks are made of, and the tensors in the order of the search."""
        power, self._elements = float_power(run, run.float_model)
        self._start = form
        self._order = [q.name for q in form.plan.quantizers]
        self._searched = [q.name for q in searched]
        self._cutters: dict[str, Cutter] = {}
        self._thread = ThreadPoolExecutor(1)
        self._making: dict[str, Future[Cutter]] = {}
        super().__init__(run, np.zeros((len(run.tuning), power.size)))

    def diff(self, error: Errors) -> Diffs:
        """Mean squared difference of each image, summed over outputs; or the loss of what is lowered."""
        return mean_squared(error, self._elements) if self.run.lowered is None else error.mean(axis=1)

    def cutter(self, quantizer: Quantizer, form: Form) -> Cutter:
        """A network a quantizer, with everything behind it in float."""
        del form
        name = quantizer.name
        if name not in self._cutters:
            making = self._making.pop(name, None) or self._thread.submit(self._make, name)
            self._cutters = {name: making.result()}
            for following in self._searched[self._searched.index(name) + 1 :][:1]:
                self._making[following] = self._thread.submit(self._make, following)
        return self._cutters[name]

    def _make(self, name: str) -> Cutter:
        """The network that is INT8 up to a quantizer, fused and shared with the workers."""
        run, start = self.run, self._start
        decided = start.plan.quantizers[: self._order.index(name) + 1]
        plan = make_plan(
            start.model,
            start.plan.target,
            start.plan.scheme,
            tie=False,
            only=[tensor for q in decided for tensor in q.tensors],
            int16=[q.name for q in decided if q.bits == 16],
            joined=start.plan.joined,
            settings=start.plan.settings,
        )
        numbers = {q.name: start.state.encodings[q.name] for q in plan.quantizers}
        part = initial_state(start.model, plan, numbers)
        part = part.with_biases({layer: start.state.biases[layer] for layer in part.biases})
        form = Form(start.model, plan, state=part)
        graph = fused(run, form, apart=True)
        return Cutter(run, form, graph, run.float_model, float_network=True)


def float_power(run: Run, reference: Blob) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Power of each float output summed over the tuning samples, (outputs,), and their element counts."""
    tuning = run.tuning
    parts = portions(tuning, 0, len(tuning), run.executor.workers)
    units = [Outputs(reference, run.data, part.indices, part.number) for part in parts]
    results = list(run.images("float outputs", units))
    run.cost_so_far.fp32_forwards += len(tuning)
    power = in_order([result["power"] for result in results], parts, axis=0)
    elements: npt.NDArray[np.int64] = results[0]["elements"]
    if run.lowered is not None:  # beside no power a loss counts as it is
        return np.zeros(power.shape[1]), np.ones_like(elements)
    return np.array([np.sum(column) for column in power.T]), elements
