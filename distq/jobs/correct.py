"""Sequential correction.

Round each layer's weights for its quantized inputs, and give it the mean it has in float.

Layer by layer in the order of the network, each measured on inputs that all earlier layers, quantized,
rounded and corrected, produce. Rounding keeps the variance of a layer's output error small (GPTQ, see
``quant.rounding``); the bias takes back its mean (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.2, in its measured form).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from distq.data.shards import deal
from distq.graph.layers import Layer
from distq.graph.patches import Geometry
from distq.graph.probes import shares, stages, with_means
from distq.graph.qdq import export
from distq.graph.state import Constants, Names, State, bias_constants, float_weight
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.jobs.squashed import restore_squashed
from distq.jobs.story import Story, tell_together
from distq.replica.correction import Correction
from distq.replica.cuts import Advance
from distq.replica.float32 import LayerMeans
from distq.replica.moments import InputMoments, LayerInput, total
from distq.replica.numbers import Numbers
from distq.replica.worker import Arrays, Blob, stable_sum

MOST_IMAGES = 128
"""Means and covariances settle with fewer images than thresholds; more would only take longer."""

MOMENTS_UNITS, LEAST_MEASURED = 4, 32
"""Units that share a layer's images, and images of one: fewer are measured sooner than sums are sent."""

LARGEST_COVARIANCE = 1152
"""Inputs of an output beyond which their channels are cut into blocks, and errors stay within a block.

The time goes with the cube of a block's inputs.
"""

LEAST_PATCHES, PATCHES_PER_INPUT = 1024, 8
"""Patches that make a covariance: neighbouring positions tell little new, and few inputs need few."""

Means = Mapping[str, npt.NDArray[np.float64]]


def float_means(job: Job) -> Means:
    """Mean output, (channels,) float64, of every layer with a bias, over the first calibration samples."""
    layers = [layer for stage in stages(job.loaded.model, job.plan) for layer in stage]
    if not layers:
        return {}
    model = job.executor.share(with_means(job.loaded.model, layers))
    names = tuple(layer.name for layer in layers)
    units = [LayerMeans(model, names, job.data, piece) for piece in job.shards(_samples(job))]
    results = list(job.images("float means", units))
    for result in results:
        job.skip_unreadable(result, job.data)
    job.cost_so_far.fp32_forwards += len(job.readable(_samples(job)))
    return {
        name: stable_sum(rows) / len(rows)
        for i, name in enumerate(names)
        for rows in [np.concatenate([r[str(i)] for r in results if r[str(i)].size])]
    }


def correct(job: Job, state: State, wanted: Means, changed: Collection[str] | None = None) -> State:
    """Round weights and correct biases, layer by layer.

    Args:
        job: the run.
        state: thresholds, and weights and biases to start from.
        wanted: the mean outputs to restore, from :func:`float_means`.
        changed: quantizers with new thresholds since the state was corrected: layers that lie behind none of
            them stay as they are. None: all layers are corrected.
    """
    return correct_together([(job, state, wanted)], changed)[0]


def correct_together(
    cases: Sequence[tuple[Job, State, Means]], changed: Collection[str] | None = None
) -> list[State]:
    """Correct several forms of one network at the same time.

    A layer waits for those before it, so one form alone leaves workers idle. Many images are dealt out where
    there are more workers than forms; otherwise one worker measures and rounds a layer of a form in one go.
    """
    job = cases[0][0]
    dealt = job.executor.workers > len(cases) and _pieces(job) > 1
    stories = []
    layers = 0
    for turn, (form, state, wanted) in enumerate(cases):
        found = stages(form.loaded.model, form.plan, None if changed is None else _tensors(form, changed))
        layers += sum(map(len, found))
        stories.append(_story(form, state, wanted, found, None if dealt else turn))
    job.reporter.start("rounding and bias correction", layers, "layers")
    states = tell_together(job, stories)
    job.reporter.finish()
    return states


def _tensors(job: Job, quantizers: Collection[str]) -> set[str]:
    return {tensor for q in job.plan.quantizers if q.name in quantizers for tensor in q.tensors}


def _story(
    job: Job, state: State, wanted: Means, found: Sequence[Sequence[Layer]], turn: int | None
) -> Story[State]:
    """Correct a form's layers, stage by stage; ``turn`` is that of the worker that does it, if one does."""
    model, plan = job.loaded.model, job.plan
    names = Names.free_in(model)
    fused = job.fuse(export(model, plan, state))
    network, blob = Network(fused), job.executor.share(fused)
    numbers: Constants = {}
    weights: dict[str, Blob] = {}
    done: set[int] = set()
    work = shares(model)
    for stage in found:
        inputs = [_input(job, state, layer, names) for layer in stage]
        done |= network.before([wanted_input.tensor for wanted_input in inputs])
        replaced = Numbers.of(numbers, job.executor.share, dict(weights))
        advance = Advance(blob, job.data, replaced, network.crossing(done), work)
        results = yield from _corrections(job, state, advance, list(zip(stage, inputs, strict=True)), turn)
        for layer, result in zip(stage, results, strict=True):
            weight = replace(state.weights[layer.name], integers=result["integers"])
            state = replace(state, weights={**state.weights, layer.name: weight})
            state = state.with_biases({layer.name: wanted[layer.name] - result["mean"]})
            numbers |= bias_constants(plan, state, names, layer)
            weights[f"{names.weight(layer.name)}_quantized"] = job.executor.share(weight.integers.tobytes())
        job.reporter.advance(len(stage))
    corrected = {layer.name for stage in found for layer in stage}
    return (yield from restore_squashed(job, state, corrected, job.readable(_samples(job))))


def _corrections(
    job: Job, state: State, advance: Advance, stage: Sequence[tuple[Layer, LayerInput]], turn: int | None
) -> Story[list[Arrays]]:
    """Measure what a stage's layers read, and correct them by it; what is known is not measured again."""
    samples = job.readable(_samples(job))
    pieces = deal(samples, _pieces(job))
    units = [
        Correction(
            layer=layer,
            step=state.encodings[job.plan.by_tensor[layer.inputs[0]].name].scale,
            weight=state.weights[layer.name],
            original=float_weight(job.loaded.model, layer) if own.patches else None,
            measuring=[InputMoments(advance, own, piece) for piece in pieces],
            affinity=turn,
        )
        for layer, own in stage
    ]
    if turn is None and not all(unit.key in job.journal for unit in units):
        measuring = [replace(m, affinity=i) for unit in units for i, m in enumerate(unit.measuring)]
        moments = yield measuring
        parts = [moments[i : i + len(pieces)] for i in range(0, len(moments), len(pieces))]
        units = [replace(unit, moments=total(part)) for unit, part in zip(units, parts, strict=True)]
    results = yield units
    job.count_int8(units, results)
    return results


def _pieces(job: Job) -> int:
    return max(1, min(MOMENTS_UNITS, len(job.readable(_samples(job))) // LEAST_MEASURED))


def _input(job: Job, state: State, layer: Layer, names: Names) -> LayerInput:
    geometry = Geometry.of(job.loaded.model, layer)
    weight = state.weights[layer.name]
    inputs = weight.integers.size // weight.scale.size
    patches, blocks = 0, 1
    if job.options.rounding == "gptq" and layer.op in {"Conv", "Gemm"} and inputs > 1:
        blocks = cut_into(inputs // math.prod(geometry.kernel), math.prod(geometry.kernel))
        samples = max(LEAST_PATCHES, PATCHES_PER_INPUT * inputs // blocks)
        patches = -(-samples // len(job.readable(_samples(job))))
    encoding = state.encodings[job.plan.by_tensor[layer.inputs[0]].name]
    return LayerInput(names.quantized(layer.inputs[0]), encoding.zero_point, geometry, patches, blocks)


def cut_into(channels: int, kernel: int) -> int:
    """The fewest equal blocks of channels, a kernel each, that stay within ``LARGEST_COVARIANCE``.

    Of a prime number of channels each is a block, and what is left of rounding by covariance is within them.
    """
    return next(
        n
        for n in range(1, channels + 1)
        if channels % n == 0 and (channels // n * kernel <= LARGEST_COVARIANCE or n == channels)
    )


def _samples(job: Job) -> Sequence[int]:
    return job.selection.calibration[:MOST_IMAGES]
