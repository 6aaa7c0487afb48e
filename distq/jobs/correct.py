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
from distq.engine.blas import one_blas_thread
from distq.graph.layers import Layer
from distq.graph.patches import Geometry
from distq.graph.probes import shares, stages, with_means
from distq.graph.qdq import export
from distq.graph.state import Constants, IntegerWeight, Names, State, bias_constants, float_weight
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.jobs.squashed import restore_squashed
from distq.quant.rounding import round_by_covariance
from distq.replica.cuts import Advance
from distq.replica.float32 import LayerMeans
from distq.replica.moments import InputMoments, LayerInput
from distq.replica.numbers import Numbers
from distq.replica.worker import Arrays, Blob, stable_sum

MOST_IMAGES = 128
"""Means and covariances settle with fewer images than thresholds; more would only take longer."""

MOMENTS_UNITS = 4
"""Units that share a layer's images: sums of integers are the same in any, and each sends its own."""

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
    model, plan = job.loaded.model, job.plan
    names = Names.free_in(model)
    fused = job.fuse(export(model, plan, state))
    network, blob = Network(fused), job.executor.share(fused)
    numbers: Constants = {}
    weights: dict[str, Blob] = {}
    done: set[int] = set()
    job.reporter.start("rounding and bias correction", len(wanted), "layers")
    for stage in stages(model, plan):
        done |= network.before([names.quantized(layer.inputs[0]) for layer in stage])
        cut = network.crossing(done)
        replaced = Numbers.of(numbers, job.executor.share, dict(weights))
        advance = Advance(blob, job.data, replaced, cut, shares(model))
        inputs = tuple(_input(job, state, names, layer) for layer in stage)
        pieces = deal(job.readable(_samples(job)), MOMENTS_UNITS)
        units = [InputMoments(advance, inputs, piece, turn) for turn, piece in enumerate(pieces)]
        moments = _total(list(job.results(units)))
        job.cost_so_far.int8_forwards += float(moments["forwards"])
        for i, layer in enumerate(stage):
            state = _correct_layer(job, state, layer, wanted[layer.name], _of(moments, i))
            numbers |= bias_constants(plan, state, names, layer)
            integers = state.weights[layer.name].integers
            weights[f"{names.weight(layer.name)}_quantized"] = job.executor.share(integers.tobytes())
        job.reporter.advance(len(stage))
    job.reporter.finish()
    return restore_squashed(job, state, job.readable(_samples(job)))


def _correct_layer(
    job: Job, state: State, layer: Layer, wanted: npt.NDArray[np.float64], moments: Arrays
) -> State:
    """One layer's new weights and bias from the moments of its inputs."""
    weight = state.weights[layer.name]
    group = Geometry.of(job.loaded.model, layer).group
    if "products" in moments:
        original = float_weight(job.loaded.model, layer)
        if original is not None:
            weight = _rounded(original, weight, layer, group, moments)
            state = replace(state, weights={**state.weights, layer.name: weight})
    step = state.encodings[job.plan.by_tensor[layer.inputs[0]].name].scale
    means = moments["sum"].astype(np.float64) / float(moments["positions"]) * step
    mean = _output_mean(layer, group, weight.dequantized().astype(np.float64), means)
    return state.with_biases({layer.name: wanted - mean})


def _rounded(
    original: npt.NDArray[np.float32], weight: IntegerWeight, layer: Layer, group: int, moments: Arrays
) -> IntegerWeight:
    count = float(moments["samples"])
    means = moments["means"] / count
    covariance = moments["products"] / count - means[:, :, None] * means[:, None, :]
    rows = original.T if layer.axis == 1 else original  # a Gemm with its outputs along the second axis
    rows = rows.reshape(group, rows.shape[0] // group, -1)
    scale = weight.scale.reshape(group, -1).astype(np.float64)
    with one_blas_thread():
        integers = round_by_covariance(rows.astype(np.float64), scale, covariance)
    integers = integers.reshape(-1, integers.shape[2])
    shaped = integers.T if layer.axis == 1 else integers
    return replace(weight, integers=np.ascontiguousarray(shaped.reshape(original.shape)))


def _output_mean(
    layer: Layer, group: int, weight: npt.NDArray[np.float64], means: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean output without bias, (channels,), from the mean of what the weights multiply."""
    if layer.op == "Gemm":
        rows = weight if layer.axis == 0 else weight.T
        return np.array([np.sum(row * means) for row in rows])
    if layer.op == "ConvTranspose":
        return np.array([np.sum(weight[:, c] * means) for c in range(weight.shape[1])])
    grouped = means.reshape(group, -1)
    outputs = weight.shape[0] // group
    return np.array([np.sum(row.reshape(-1) * grouped[c // outputs]) for c, row in enumerate(weight)])


def _input(job: Job, state: State, names: Names, layer: Layer) -> LayerInput:
    geometry = Geometry.of(job.loaded.model, layer)
    weight = state.weights[layer.name]
    inputs = weight.integers.size // weight.scale.size
    patches = 0
    if job.options.rounding == "gptq" and layer.op in {"Conv", "Gemm"} and 1 < inputs <= LARGEST_COVARIANCE:
        samples = max(LEAST_PATCHES, PATCHES_PER_INPUT * inputs)
        patches = -(-samples // len(job.readable(_samples(job))))
    encoding = state.encodings[job.plan.by_tensor[layer.inputs[0]].name]
    return LayerInput(names.quantized(layer.inputs[0]), encoding.zero_point, geometry, patches)


def _total(results: Sequence[Arrays]) -> Arrays:
    """Sums of integers, exact in any order."""
    found = {name: array.astype(np.float64) for name, array in results[0].items()}
    for result in results[1:]:
        for name, array in result.items():
            found[name] += array
    return found


def _of(moments: Arrays, position: int) -> Arrays:
    prefix = f"{position}/"
    return {name.removeprefix(prefix): a for name, a in moments.items() if name.startswith(prefix)}


def _samples(job: Job) -> Sequence[int]:
    return job.selection.calibration[:MOST_IMAGES]
