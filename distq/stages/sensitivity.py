"""What each quantizer costs: its part of the output error, alone and inside the INT8 network."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from distq.engine.portions import LEAST_PORTIONS
from distq.graph.heads import with_places
from distq.graph.layers import Layer
from distq.graph.names import Names
from distq.graph.plan import Plan, Quantizer
from distq.graph.probes import with_shifts
from distq.graph.variants import FloatPart, separable
from distq.replica.evaluate import STATISTICS
from distq.replica.float32 import LayerMeans
from distq.replica.variants import VariantErrors, VariantSteps
from distq.replica.worker import Arrays, stable_sum
from distq.run.context import Run
from distq.search.metrics import ImageStatistics, mean_over_images, nmse
from distq.stages.form import Form, Means

IMAGES = 8
"""Images that rank tensors for a budget: the worst cost many times what the others do, so few show them."""

FIRST_IMAGES = 2
"""Images that show which parts cost so little that no others need to be looked at."""

DECISIVE, LEAST_DECISIVE = 0.9, 32
"""Part of all that is lost which is measured on all images, and how many parts are, at least."""


TOGETHER = 6
"""Steps from one variant to the next that a unit takes, about: it runs one network more."""


@dataclass(frozen=True)
class PartError:
    """How far a network is from float: its NMSE, and the mean loss where the run lowers another measure."""

    nmse: float
    diff: float | None = None

    @property
    def chosen_by(self) -> float:
        """What choices go by."""
        return self.nmse if self.diff is None else self.diff


@dataclass(frozen=True)
class Cost:
    """What one quantizer does to the network outputs.

    Attributes:
        quantizer: its name.
        tensors: all tensors it quantizes.
        bits: its width.
        alone: error with only these tensors quantized; weights and everything else in float.
        without: error of the INT8 network with these tensors left in float.
    """

    quantizer: str
    tensors: tuple[str, ...]
    bits: int
    alone: PartError
    without: PartError


class Variants:
    """Measures one quantized network with parts of it in float.

    Args:
        run: gives workers; samples are its first tuning samples.
        form: the quantized network.
        images: how many samples; None: all tuning samples.
        in_parts: measure as choices do, by the parts of the outputs; otherwise by the outputs.
    """

    def __init__(self, run: Run, form: Form, images: int | None, *, in_parts: bool = False) -> None:
        self._run = run
        self._form = form
        self._names = Names.free_in(form.model)
        separated = replace(form, plan=separable(form.plan))
        exported = with_places(separated.exported, run.places if in_parts else run.reported)
        self._exported = run.executor.share(exported)
        self._reference = run.float_parts if in_parts else run.float_model
        self._original = run.executor.share(form.serialized)
        self._lowered = run.lowered
        self._indices = tuple(run.tuning[:images])
        self._separated = separated

    def part(
        self, tensors: Collection[str], layers: Sequence[Layer] = (), *, inputs: bool = True
    ) -> FloatPart:
        """A part to put in float: tensors without their quantizers, and layers with their float weights.

        Where quantizers stand everywhere, whatever reads a quantized tensor reads its integers; elsewhere a
        float layer reads float, unless ``inputs`` is false. A corrected bias gives up what it took back of
        the rounding that is now gone.
        """
        plan = self._form.plan
        order = [self._names.quantized(t) for t in plan.by_tensor if t in tensors]
        biases = {
            layer.reads_bias[0]: self._form.state.biases[layer.name] - self._shifts[layer.name]
            for layer in plan.layers
            if layer.name in self._shifts and layer.inputs[0] in tensors and layer not in layers
        }
        inputs = inputs and plan.target.placement == "layer inputs"
        return FloatPart(tuple(order), tuple(layers), inputs, biases)

    def behind(self, tensors: Collection[str], layers: Sequence[Layer]) -> FloatPart:
        """The same of what lies behind all that is quantized: no bias gives up anything."""
        plan = self._form.plan
        order = [self._names.quantized(t) for t in plan.by_tensor if t in tensors]
        return FloatPart(tuple(order), tuple(layers), plan.target.placement == "layer inputs")

    def nmse(self, stage: str, parts: Sequence[FloatPart]) -> list[float]:
        """NMSE over the samples with each part in float; the mean loss where the run lowers another."""
        return [found.chosen_by for found in self.errors(stage, parts)]

    def errors(self, stage: str, parts: Sequence[FloatPart]) -> list[PartError]:
        """The same, and NMSE beside the loss; the parts are dealt out to the workers."""
        return [_error(result) for result in self._results(stage, parts)]

    def errors_of_steps(self, stage: str, behind: Sequence[FloatPart]) -> list[PartError]:
        """How far apart the outputs of each variant and the one before are, from the second on.

        Steps that hardly change the outputs of the first samples are measured on no others.
        """
        first, rest = self._indices[:FIRST_IMAGES], self._indices[FIRST_IMAGES:]
        steps = range(1, len(behind))
        found = self._steps(stage, behind, steps, first)
        decisive = _decisive([_error(found[step]).chosen_by for step in steps]) if rest else []
        more = self._steps(f"{stage}, the most", behind, [steps[i] for i in decisive], rest)
        for step, result in more.items():
            found[step] = {name: np.concatenate([found[step][name], result[name]]) for name in result}
        return [_error(found[step]) for step in steps]

    def statistics(self, stage: str, parts: Sequence[FloatPart]) -> list[ImageStatistics]:
        """Sums over the samples with each part in float."""
        return [_statistics(result) for result in self._results(stage, parts)]

    def _results(self, stage: str, parts: Sequence[FloatPart]) -> list[Arrays]:
        run = self._run
        units = [
            VariantErrors(
                self._exported,
                self._original,
                part,
                self._reference,
                run.data,
                self._indices,
                self._lowered,
            )
            for part in parts
        ]
        run.reporter.start(stage, len(units), "variants")
        found = []
        for result in run.results(units):
            run.reporter.advance()
            found.append(result)
        run.reporter.finish()
        run.cost_so_far.int8_forwards += len(units) * len(self._indices)
        return found

    def _steps(
        self, stage: str, behind: Sequence[FloatPart], steps: Sequence[int], indices: Sequence[int]
    ) -> dict[int, Arrays]:
        """What each of these steps does on samples; those in a row share the networks between them."""
        run, found = self._run, dict[int, Arrays]()
        rows = _in_rows(steps)
        units = [
            VariantSteps(
                self._exported,
                self._original,
                [behind[i] for i in (row[0] - 1, *row)],
                run.data,
                indices,
                self._lowered,
            )
            for row in rows
        ]
        run.reporter.start(stage, len(steps), "layers")
        for row, result in zip(rows, run.results(units), strict=True):
            for place, step in enumerate(row):
                own = slice(place * len(indices), (place + 1) * len(indices))
                found[step] = {name: values[own] for name, values in result.items()}
            run.reporter.advance(len(row))
        run.reporter.finish()
        run.cost_so_far.int8_forwards += (len(steps) + len(rows)) * len(indices)
        return found

    @cached_property
    def _shifts(self) -> Means:
        """How rounding each layer's input moves its mean output, which its corrected bias took back."""
        run, form = self._run, self._separated
        if not run.options.bias_correction or self._form.means is None:  # see best_calibration
            return {}
        state = form.state
        layers = [layer for layer in form.plan.layers if layer.name in state.biases]
        if not layers:
            return {}
        model = run.executor.share(with_shifts(form.model, form.plan, state, layers))
        names = tuple(layer.name for layer in layers)
        units = [LayerMeans(model, names, run.data, piece) for piece in run.shards(self._indices)]
        results = list(run.images("means lost by rounding", units))
        run.cost_so_far.int8_forwards += len(self._indices)
        rows = [np.concatenate([result[str(i)] for result in results]) for i in range(len(names))]
        return {name: stable_sum(row) / len(row) for name, row in zip(names, rows, strict=True)}


def _statistics(result: Arrays) -> ImageStatistics:
    return ImageStatistics(*(result[name] for name in STATISTICS))


def _error(result: Arrays) -> PartError:
    loss = result.get("loss")
    return PartError(nmse(_statistics(result)), None if loss is None else mean_over_images(loss))


def _decisive(errors: Sequence[float]) -> list[int]:
    """Positions of the largest errors, which together are most of all."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    most = DECISIVE * math.fsum(errors)
    count = next(
        (n for n in range(len(order)) if math.fsum(errors[i] for i in order[:n]) >= most), len(order)
    )
    return sorted(order[: max(count, LEAST_DECISIVE)])


def _in_rows(steps: Sequence[int]) -> list[list[int]]:
    """Numbers that follow one another, about ``TOGETHER`` in a row; the longest rows first.

    There are as many rows for each of two or four workers, as far as numbers follow one another.
    """
    rows = max(1, round(len(steps) / (TOGETHER * LEAST_PORTIONS))) * LEAST_PORTIONS
    most = -(-len(steps) // rows)
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][-1] == step - 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    cut = [piece.tolist() for run in runs for piece in np.array_split(run, -(-len(run) // most))]
    return sorted(cut, key=len, reverse=True)


def sensitivity(run: Run, form: Form, images: int | None = None) -> tuple[PartError, list[Cost]]:
    """Error of the INT8 network, and the cost of each of its quantizers, in graph order."""
    variants, plan = Variants(run, form, images), form.plan
    alone = [variants.part(others(plan, q), plan.layers, inputs=False) for q in plan.quantizers]
    inside = [variants.part(q.tensors) for q in plan.quantizers]
    whole, *found = variants.errors("sensitivity", [FloatPart(), *alone, *inside])
    count = len(plan.quantizers)
    return whole, [
        Cost(q.name, q.tensors, q.bits, found[i], found[count + i]) for i, q in enumerate(plan.quantizers)
    ]


def others(plan: Plan, quantizer: Quantizer) -> frozenset[str]:
    """All quantized tensors but those of one quantizer."""
    return frozenset(plan.by_tensor) - frozenset(quantizer.tensors)


def touches(plan: Plan, quantizer: Quantizer, layers: Iterable[Layer]) -> bool:
    """Whether one of these layers reads the quantizer's tensors, or writes them where those are quantized."""
    near = {t for layer in layers for t in layer.inputs}
    if plan.target.placement == "everywhere":
        near |= {t for layer in layers for t in (layer.name, layer.output)}
    return not near.isdisjoint(quantizer.tensors)
