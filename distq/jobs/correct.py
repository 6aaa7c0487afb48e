"""Sequential bias correction: give each layer the mean output it has in float.

Quantization moves the mean of a layer's output, because rounded weights do not sum to what they did and
because its inputs are off already. The bias takes that back, layer by layer in the order of the network, each
measured on inputs that all earlier layers, quantized and corrected, produce (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, its measured form).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.graph.probes import quantized_means, stages, with_means
from distq.graph.qdq import export
from distq.graph.state import Constants, Names, State, bias_constants
from distq.graph.subgraph import Network
from distq.jobs.context import Job
from distq.replica.cuts import Advance
from distq.replica.float32 import LayerMeans
from distq.replica.int8 import QuantizedMeans
from distq.replica.session import fuse
from distq.replica.worker import Arrays, WorkerSettings, stable_sum

MOST_IMAGES = 128
"""Means settle with fewer images than thresholds; more would only take longer."""

Means = dict[str, npt.NDArray[np.float64]]


def float_means(job: Job) -> Means:
    """Mean output, (channels,) float64, of every layer with a bias, over the first calibration samples."""
    layers = [layer for stage in stages(job.loaded.model, job.plan) for layer in stage]
    if not layers:
        return {}
    model = job.executor.share(with_means(job.loaded.model, layers))
    names = tuple(layer.name for layer in layers)
    units = [LayerMeans(model, names, job.data, shard) for shard in job.shards(_samples(job))]
    results = list(job.images("float means", units))
    for result in results:
        job.skip_unreadable(result, job.data)
    job.fp32_forwards += len(job.readable(_samples(job)))
    return _averages(results, names)


def correct_biases(job: Job, state: State, wanted: Means) -> State:
    """New biases for every layer, in the order of the network.

    Args:
        job: the run.
        state: thresholds and integer weights; its biases are where the correction starts.
        wanted: the mean outputs to restore, from :func:`float_means`.
    """
    model, plan = job.loaded.model, job.plan
    names = Names.free_in(model)
    fused = fuse(export(model, plan, state), WorkerSettings(job.options.device))
    network, blob = Network(fused), job.executor.share(fused)
    numbers: Constants = {}
    done: set[int] = set()
    base: tuple[str, ...] | None = None
    plan_stages = stages(model, plan)
    job.reporter.start("bias correction", len(wanted), "layers")
    for stage in plan_stages:
        done |= network.before([names.quantized(layer.inputs[0]) for layer in stage])
        cut = network.crossing(done)
        probe = job.executor.share(quantized_means(model, plan, state, stage))
        advance = Advance(blob, job.data, dict(numbers), cut, base)
        layers = tuple(layer.name for layer in stage)
        units = [QuantizedMeans(advance, probe, layers, shard) for shard in job.shards(_samples(job))]
        found = _averages(list(job.results(units)), layers)
        state = state.with_biases({name: wanted[name] - found[name] for name in layers})
        for layer in stage:
            numbers |= bias_constants(plan, state, names, layer)
        base = cut
        job.reporter.advance(len(stage))
    job.reporter.finish()
    job.int8_forwards += 2 * len(job.readable(_samples(job)))
    return state


def _samples(job: Job) -> tuple[int, ...]:
    return job.selection.calibration[:MOST_IMAGES]


def _averages(results: Sequence[Arrays], layers: Sequence[str]) -> Means:
    """Means over images, summed in index order."""
    found = {}
    for position, name in enumerate(layers):
        rows = np.concatenate([result[str(position)] for result in results])
        found[name] = stable_sum(rows) / len(rows)
    return found
