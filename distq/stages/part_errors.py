"""How far each part of an INT8 network takes its outputs from float, in few forwards.

The network becomes INT8 layer by layer, from the first on: float inputs and weights of a layer give way to
those of the INT8 network, with the bias that is corrected for all that lies in front. What this changes in
the outputs is what the layer costs. A layer or a tensor alone in INT8 would not tell: its bias is corrected
for errors that are not there then, and what the biases behind it take back of its error stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distq.calibration.histogram import Distribution
from distq.calibration.methods.grid import GridError
from distq.graph.layers import Layer
from distq.graph.plan import Plan, Quantizer
from distq.graph.state import float_weight
from distq.graph.variants import FloatPart
from distq.quant.scheme import Encoding
from distq.run.context import Run
from distq.stages.form import Form
from distq.stages.sensitivity import PartError, Variants

LEAST_NOISE = 1e-12
"""Of a tensor as part of its power: what is not known to be rounded counts as much."""


@dataclass(frozen=True)
class PartErrors:
    """What each part costs; together they are what the INT8 network loses.

    Attributes:
        activations: of each quantizer, by its name.
        weights: of each layer with weights, by its name.
    """

    activations: Mapping[str, PartError]
    weights: Mapping[str, PartError]


@dataclass(frozen=True)
class _Step:
    """What becomes INT8 together: a layer, unless it lies behind the last, and quantizers in front of it."""

    layer: Layer | None
    quantizers: tuple[Quantizer, ...]


def part_errors(run: Run, form: Form, images: int) -> PartErrors:
    """Measure what each layer costs, and share it out to its weights and to the tensors in front of it.

    They are shared out by the noise of each as part of its own power.

    Args:
        run: gives workers and samples.
        form: the INT8 network, corrected.
        images: how many samples show what costs most.
    """
    plan = form.plan
    variants = Variants(run, form, images, in_parts=True)
    steps = list(_steps(plan))
    behind = [_behind(variants, steps[count:]) for count in range(len(steps) + 1)]
    errors = variants.errors_of_steps("what each layer costs", behind)
    activations: dict[str, list[PartError]] = {q.name: [] for q in plan.quantizers}
    weights: dict[str, PartError] = {}
    for step, error in zip(steps, errors, strict=True):
        noise = {
            q.name: _noise(form.distributions.get(q.name), form.state.encodings[q.name])
            for q in _rounded_in(plan, step)
        }
        own = _noise_of_weights(form, step.layer)
        whole = math.fsum([*noise.values(), own]) or 1.0
        for name, part in noise.items():
            activations[name].append(_part(error, part / whole))
        if step.layer is not None and step.layer.weight is not None:
            weights[step.layer.name] = _part(error, own / whole)
    return PartErrors({name: _sum(errors) for name, errors in activations.items()}, weights)


def _steps(plan: Plan) -> Iterator[_Step]:
    """The layers in graph order, each with the quantizers in front of it that no earlier one has there."""
    done = 0
    for layer in plan.layers:
        reached = [i for i, q in enumerate(plan.quantizers) if not {*q.tensors}.isdisjoint(layer.inputs)]
        most = max([done, *(i + 1 for i in reached)])
        yield _Step(layer, plan.quantizers[done:most])
        done = most
    if done < len(plan.quantizers):
        yield _Step(None, plan.quantizers[done:])


def _behind(variants: Variants, steps: Sequence[_Step]) -> FloatPart:
    """What is float as long as these steps are to come."""
    tensors = {tensor for step in steps for q in step.quantizers for tensor in q.tensors}
    return variants.behind(tensors, [step.layer for step in steps if step.layer is not None])


def _rounded_in(plan: Plan, step: _Step) -> list[Quantizer]:
    """The quantizers whose noise a step adds; at inputs alone each reader has its own share."""
    again = step.layer.inputs if step.layer is not None and plan.target.placement == "layer inputs" else ()
    others = {plan.by_tensor[name].name for name in again if name in plan.by_tensor}
    return [q for q in plan.quantizers if q in step.quantizers or q.name in others]


def _part(error: PartError, part: float) -> PartError:
    """A part of an error; losses such as that of boxes grow with the noise, not with its square."""
    return PartError(part * error.nmse, None if error.diff is None else math.sqrt(part) * error.diff)


def _sum(errors: Sequence[PartError]) -> PartError:
    losses = [error.diff for error in errors if error.diff is not None]
    lost = math.sqrt(math.fsum(loss**2 for loss in losses)) if losses else None
    return PartError(math.fsum(error.nmse for error in errors), lost)


def _noise(distribution: Distribution | None, encoding: Encoding) -> float:
    """Squared error of rounding and clipping a tensor, as part of its power."""
    if distribution is None:
        return LEAST_NOISE
    values, counts = distribution.values()
    power = float(counts @ values**2)
    if isinstance(encoding.scale, tuple) or isinstance(encoding.zero_point, tuple):
        error = float(np.mean(np.square(encoding.scale))) / 12 * float(counts.sum())
    else:
        lowest = -(2 ** (encoding.bits - 1)) if encoding.signed else 0
        zero = np.array([encoding.zero_point - lowest])
        (error,) = GridError.of(values, counts).squared_error(
            np.array([encoding.scale]), zero, 2**encoding.bits - 1
        )
    return max(LEAST_NOISE, float(error) / power) if power > 0 else LEAST_NOISE


def _noise_of_weights(form: Form, layer: Layer | None) -> float:
    """Squared error of a layer's weights, rounded to nearest, as part of their power; 0 without any."""
    if layer is None or layer.weight is None:
        return 0.0
    weight, rounded = float_weight(form.model, layer), form.state.weights.get(layer.name)
    power = 0.0 if weight is None else float(np.mean(np.square(weight, dtype=np.float64)))
    if rounded is None or not power > 0:
        return LEAST_NOISE
    return max(LEAST_NOISE, float(np.mean(np.square(rounded.scale, dtype=np.float64))) / 12 / power)
