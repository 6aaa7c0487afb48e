"""Sequential correction.

Round each layer's weights for its quantized inputs, and give it the mean it has in float.

Layer by layer in the order of the network, each measured on inputs that all earlier layers, quantized,
rounded and corrected, produce. Rounding keeps the variance of a layer's output error small (GPTQ, see
``quant.rounding``); the bias takes back its mean (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.2, in its measured form).
"""

from __future__ import annotations

from collections.abc import Sequence
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
from distq.replica.moments import InputMoments, LayerInput
from distq.replica.numbers import Numbers
from distq.replica.worker import Arrays, Blob, stable_sum

MOST_IMAGES = 128
"""Means and covariances settle with fewer images than thresholds; more would only take longer."""

MOMENTS_UNITS, LEAST_MEASURED = 4, 10
"""Units that share a layer's images, and images of one: each sends sums as large whatever it measured."""

LARGEST_COVARIANCE = 2304
"""Inputs of an output beyond which weights are rounded to nearest: the covariance would take over 40 MB."""

LEAST_PATCHES, PATCHES_PER_INPUT = 1024, 8
"""Patches that make a covariance: neighbouring positions tell little new, and few inputs need few."""

Means = dict[str, npt.NDArray[np.float64]]


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


def correct(job: Job, state: State, wanted: Means) -> State:
    """Round weights and correct biases, layer by layer.

    Args:
        job: the run.
        state: thresholds, and weights and biases to start from.
        wanted: the mean outputs to restore, from :func:`float_means`.
    """
    return correct_together([(job, state, wanted)])[0]


def correct_together(cases: Sequence[tuple[Job, State, Means]]) -> list[State]:
    """Correct several forms of one network at the same time.

    A layer waits for those before it, so one form alone leaves workers idle.
    """
    job = cases[0][0]
    job.reporter.start("rounding and bias correction", sum(len(wanted) for *_, wanted in cases), "layers")
    states = tell_together(job, [_story(*case) for case in cases])
    job.reporter.finish()
    return states


def _story(job: Job, state: State, wanted: Means) -> Story[State]:
    model, plan = job.loaded.model, job.plan
    names = Names.free_in(model)
    fused = job.fuse(export(model, plan, state))
    network, blob = Network(fused), job.executor.share(fused)
    numbers: Constants = {}
    weights: dict[str, Blob] = {}
    done: set[int] = set()
    work = shares(model)
    for stage in stages(model, plan):
        done |= network.before([names.quantized(layer.inputs[0]) for layer in stage])
        replaced = Numbers.of(numbers, job.executor.share, dict(weights))
        advance = Advance(blob, job.data, replaced, network.crossing(done), work)
        found = yield from _corrections(job, state, advance, stage)
        for layer, result in zip(stage, found, strict=True):
            weight = replace(state.weights[layer.name], integers=result["integers"])
            state = replace(state, weights={**state.weights, layer.name: weight})
            state = state.with_biases({layer.name: wanted[layer.name] - result["mean"]})
            numbers |= bias_constants(plan, state, names, layer)
            weights[f"{names.weight(layer.name)}_quantized"] = job.executor.share(weight.integers.tobytes())
        job.reporter.advance(len(stage))
    return (yield from restore_squashed(job, state, job.readable(_samples(job))))


def _corrections(job: Job, state: State, advance: Advance, stage: Sequence[Layer]) -> Story[list[Arrays]]:
    """Measure what a stage's layers read, and correct them by it; what is known is not measured again."""
    inputs = tuple(_input(job, state, layer) for layer in stage)
    samples = job.readable(_samples(job))
    pieces = deal(samples, min(MOMENTS_UNITS, -(-len(samples) // LEAST_MEASURED)))
    measuring = [InputMoments(advance, inputs, piece, turn) for turn, piece in enumerate(pieces)]
    keys = [unit.key for unit in measuring]
    units = [
        Correction(
            layer=layer,
            group=own.geometry.group,
            step=state.encodings[job.plan.by_tensor[layer.inputs[0]].name].scale,
            weight=state.weights[layer.name],
            original=float_weight(job.loaded.model, layer) if own.patches else None,
            measured=keys,
        )
        for layer, own in zip(stage, inputs, strict=True)
    ]
    if not all(unit.key in job.journal for unit in units):
        moments = _total((yield measuring))
        units = [replace(unit, moments=_of(moments, i)) for i, unit in enumerate(units)]
    results = yield units
    job.count_int8(units[:1], results[:1])
    return results


def _input(job: Job, state: State, layer: Layer) -> LayerInput:
    geometry = Geometry.of(job.loaded.model, layer)
    weight = state.weights[layer.name]
    inputs = weight.integers.size // weight.scale.size
    patches = 0
    if job.options.rounding == "gptq" and layer.op in {"Conv", "Gemm"} and 1 < inputs <= LARGEST_COVARIANCE:
        samples = max(LEAST_PATCHES, PATCHES_PER_INPUT * inputs)
        patches = -(-samples // len(job.readable(_samples(job))))
    encoding = state.encodings[job.plan.by_tensor[layer.inputs[0]].name]
    return LayerInput(
        Names.free_in(job.loaded.model).quantized(layer.inputs[0]), encoding.zero_point, geometry, patches
    )


def _total(results: Sequence[Arrays]) -> Arrays:
    """Sums of integers, exact in any order."""
    found = dict(results[0])
    for result in results[1:]:
        for name, array in result.items():
            found[name] = np.add(found[name], array, dtype=np.float64)
    return found


def _of(moments: Arrays, position: int) -> Arrays:
    """What belongs to one of a stage's layers, and the forwards that all of them took."""
    prefix = f"{position}/"
    own = {name.removeprefix(prefix): a for name, a in moments.items() if name.startswith(prefix)}
    return {**own, "forwards": moments["forwards"]}


def _samples(job: Job) -> Sequence[int]:
    return job.selection.calibration[:MOST_IMAGES]
