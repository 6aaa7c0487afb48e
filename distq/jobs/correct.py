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
from distq.graph.state import Names, State, float_weight
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.jobs.squashed import restore_squashed
from distq.jobs.story import Story, tell_together
from distq.replica.chain import Chain, CorrectChain, Uncorrected
from distq.replica.float32 import LayerMeans
from distq.replica.moments import LayerInput, total
from distq.replica.worker import Arrays, stable_sum

MOST_IMAGES = 128
"""Means and covariances settle with fewer images than thresholds; more would only take longer."""

MOMENTS_UNITS, LEAST_MEASURED = 4, 32
"""Units that share a layer's images, and images of one: fewer are measured sooner than sums are sent."""

STAGES_TOGETHER = 8
"""Stages that one worker corrects in one go: as many as a lost worker costs at most. A word to the driver in
between takes longer than a small layer."""

LARGEST_COVARIANCE = 1152
"""Inputs of an output beyond which their channels are cut into blocks, and errors stay within a block.

The time goes with the cube of a block's inputs.
"""

LEAST_PATCHES, PATCHES_PER_INPUT = 1024, 8
"""Patches that make a covariance: neighbouring positions tell little new, and few inputs need few."""

Means = Mapping[str, npt.NDArray[np.float64]]


def float_means(job: Job) -> Means:
    """Mean output, (channels,) float64, of every layer with a bias, over the first calibration samples."""
    if job.means is not None:
        return job.means
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
    job.means = {
        name: stable_sum(rows) / len(rows)
        for i, name in enumerate(names)
        for rows in [np.concatenate([r[str(i)] for r in results if r[str(i)].size])]
    }
    return job.means


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
    stages = [[_uncorrected(job, state, names, layer, wanted) for layer in stage] for stage in found]
    chain = Chain(job.executor.share(fused), job.data, shares(model), stages)
    results = yield from (_dealt(job, Network(fused), chain) if turn is None else _by_one(job, chain, turn))
    for layer, result in zip((layer for stage in stages for layer in stage), results, strict=True):
        name = layer.layer.name
        weight = replace(layer.weight, integers=result["integers"])
        state = replace(state, weights={**state.weights, name: weight})
        state = state.with_biases({name: layer.bias(result)})
    corrected = {layer.name for stage in found for layer in stage}
    return (yield from restore_squashed(job, state, corrected, job.readable(_samples(job))))


def _by_one(job: Job, chain: Chain, turn: int) -> Story[list[Arrays]]:
    """Have one worker correct all, some stages in one go."""
    samples = job.readable(_samples(job))
    found: list[Arrays] = []
    while chain.stages:
        together = replace(chain, stages=chain.stages[:STAGES_TOGETHER])
        unit = CorrectChain(together, samples, turn)
        results = yield [unit]
        job.count_int8([unit], results)
        layers = unit.each(results[0])
        found += layers
        job.reporter.advance(len(layers))
        chain = chain.rest(layers, job.executor.share, STAGES_TOGETHER)
    return found


def _dealt(job: Job, network: Network, chain: Chain) -> Story[list[Arrays]]:
    """Have all workers measure what a stage's layers read; what is known is not measured again."""
    pieces = deal(job.readable(_samples(job)), _pieces(job))
    found: list[Arrays] = []
    while chain.stages:
        units = chain.first(network, job.executor.share, pieces)
        if not all(unit.key in job.journal for unit in units):
            measuring = [replace(m, affinity=i) for unit in units for i, m in enumerate(unit.measuring)]
            moments = yield measuring
            parts = [moments[i : i + len(pieces)] for i in range(0, len(moments), len(pieces))]
            units = [replace(unit, moments=total(part)) for unit, part in zip(units, parts, strict=True)]
        results = yield units
        job.count_int8(units, results)
        found += results
        job.reporter.advance(len(results))
        chain = chain.rest(results, job.executor.share)
    return found


def _pieces(job: Job) -> int:
    return max(1, min(MOMENTS_UNITS, len(job.readable(_samples(job))) // LEAST_MEASURED))


def _uncorrected(job: Job, state: State, names: Names, layer: Layer, wanted: Means) -> Uncorrected:
    geometry = Geometry.of(job.loaded.model, layer)
    weight = state.weights[layer.name]
    inputs = weight.integers.size // weight.channels
    patches, blocks, original = 0, 1, None
    if job.options.rounding == "gptq" and layer.op in {"Conv", "Gemm"} and inputs > 1:
        blocks = cut_into(inputs // math.prod(geometry.kernel), math.prod(geometry.kernel))
        samples = max(LEAST_PATCHES, PATCHES_PER_INPUT * inputs // blocks)
        patches = -(-samples // len(job.readable(_samples(job))))
        original = float_weight(job.loaded.model, layer)
    encoding = state.encodings[job.plan.by_tensor[layer.inputs[0]].name]
    read = LayerInput(names.quantized(layer.inputs[0]), encoding.zero_point, geometry, patches, blocks)
    mean, float_bias = wanted[layer.name], job.plan.float_biases
    return Uncorrected(layer, names, read, encoding.scale, weight, original, mean, float_bias)


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
