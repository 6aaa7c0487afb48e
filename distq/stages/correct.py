"""Sequential correction.

Round each layer's weights for its quantized inputs, and give it the mean it has in float.

Layer by layer in the order of the network, each measured on inputs that all earlier layers, quantized,
rounded and corrected, produce. Rounding keeps the variance of a layer's output error small (GPTQ, see
``quant.rounding``); the bias takes back its mean (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.2, in its measured form).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import onnx_ir as ir

from distq.data.shards import deal
from distq.graph.held_bias import HeldBias
from distq.graph.layers import Layer
from distq.graph.moving_cut import MovingCut
from distq.graph.names import Names
from distq.graph.network_cost import compute_nodes, multiplications, shares
from distq.graph.patches import Geometry
from distq.graph.probes import stages
from distq.graph.state import float_weight
from distq.graph.subgraph import Network
from distq.replica.chain import Chain, CorrectChain, Uncorrected
from distq.replica.correction import with_moments
from distq.replica.moments import LayerInput, total
from distq.replica.numbers import Numbers
from distq.replica.worker import Arrays
from distq.run.context import Run
from distq.stages.float_means import all_with_float_means, correction_samples, with_float_means
from distq.stages.form import Form
from distq.stages.fused import fused, with_nearest_weights
from distq.stages.squashed import restore_squashed
from distq.stages.steps import Steps, at_once, run_side_by_side

MOMENTS_UNITS, LEAST_STAGE_WORK = 4, 400_000_000
"""Units that share a stage's images at most, and multiplications of one in a stage, on average.

A stage with less is measured sooner than sums are sent to the driver and weights back.
"""

STAGES_TOGETHER, WORK_TOGETHER = 8, 1 << 33
"""Stages that one worker corrects in one unit at least, and multiplications up to which it takes more.

A round trip to the driver takes longer than a small layer, and workers that correct a network each wait for
one another there. What is in a unit is lost with its worker: a second or two.
"""

LARGEST_COVARIANCE = 1152
"""Inputs of an output beyond which their channels are cut into blocks, and errors stay within a block.

The time goes with the cube of a block's inputs.
"""

LEAST_PATCHES, PATCHES_PER_INPUT = 1024, 8
"""Patches that make a covariance: neighbouring positions tell little new, and few inputs need few."""


def corrected(run: Run, form: Form) -> Form:
    """The form with weights rounded and biases corrected for its thresholds."""
    return corrected_together(run, [form])[0]


def corrected_together(run: Run, forms: Sequence[Form]) -> list[Form]:
    """The same for several forms of one network, side by side."""
    return corrected_from(run, [with_nearest_weights(run, form) for form in forms])


def corrected_from(run: Run, plain: Sequence[Form]) -> list[Form]:
    """The same for forms whose weights are rounded to nearest already."""
    measured = all_with_float_means(run, plain)
    return round_and_correct(run, measured) if run.options.bias_correction else measured


def correcting(run: Run, forms: Sequence[Form]) -> tuple[int, list[Steps[Form]]]:
    """How many layers are to be corrected, and procedures that come to what :func:`corrected_together` gives.

    What float gives is measured at once where it is not known. Each layer advances the reporter's stage.
    """
    if run.options.bias_correction and all(form.means is not None for form in forms):
        return _procedures(run, forms, prepare=lambda form: with_nearest_weights(run, form))
    measured = all_with_float_means(run, [with_nearest_weights(run, form) for form in forms])
    return _procedures(run, measured) if run.options.bias_correction else (0, [*map(at_once, measured)])


def corrected_again(run: Run, form: Form, changed: Collection[str]) -> Form:
    """A corrected form with the layers corrected anew that lie behind changed thresholds.

    Args:
        run: gives workers and samples.
        form: corrected before its thresholds changed.
        changed: quantizers that have others since.
    """
    return round_and_correct(run, [with_float_means(run, form)], changed)[0]


def round_and_correct(run: Run, forms: Sequence[Form], changed: Collection[str] | None = None) -> list[Form]:
    """Round the weights and correct the biases of several forms of one network at the same time.

    A layer waits for those before it, so one form alone leaves workers idle. Where there are more workers
    than forms, they share the samples; otherwise one worker measures and rounds all layers of a form.

    Args:
        run: gives workers and samples.
        forms: with means, and weights and biases to start from.
        changed: quantizers with other thresholds since the forms were corrected: layers that lie behind none
            of them stay as they are. None: all layers are corrected.
    """
    layers, procedures = _procedures(run, forms, changed)
    began, known = run.time.elapsed, run.tally.recalled
    run.reporter.start("rounding and bias correction", layers, "layers")
    results = run_side_by_side(run, procedures)
    run.reporter.finish()
    if changed is None and run.tally.recalled == known:
        run.pace.correct = (run.time.elapsed - began) / len(forms)
    return results


def _procedures(
    run: Run,
    forms: Sequence[Form],
    changed: Collection[str] | None = None,
    *,
    prepare: Callable[[Form], Form] | None = None,
) -> tuple[int, list[Steps[Form]]]:
    """How many layers are to be corrected, and a procedure for each form, which it first prepares."""
    pieces = _pieces(run, forms[0])
    divided = pieces if run.executor.workers > len(forms) and pieces > 1 else None

    def procedure(form: Form, number: int) -> Steps[Form]:
        form = form if prepare is None else prepare(form)
        return (yield from _correct_layers(run, form, _stages(form, changed), divided, number))

    layers = sum(len(stage) for form in forms for stage in _stages(form, changed))
    return layers, [procedure(form, number) for number, form in enumerate(forms)]


def _stages(form: Form, changed: Collection[str] | None) -> list[list[Layer]]:
    """The layers to be corrected, in stages: all, or what lies behind changed quantizers."""
    return stages(form.model, form.plan, None if changed is None else _tensors(form, changed))


def _tensors(form: Form, quantizers: Collection[str]) -> set[str]:
    return {tensor for q in form.plan.quantizers if q.name in quantizers for tensor in q.tensors}


def _correct_layers(
    run: Run, form: Form, found: Sequence[Sequence[Layer]], pieces: int | None, affinity: int
) -> Steps[Form]:
    """Correct a form's layers, stage by stage.

    So many pieces of the samples are measured side by side; None: the worker of the affinity does it all, as
    it does where a worker has corrected these layers before and the journal knows them by that.
    """
    names = Names.free_in(form.model)
    graph = fused(run, form)
    waiting = [
        [_uncorrected(run, form, names, layer, graph.integers[layer.inputs[0]]) for layer in stage]
        for stage in found
    ]
    chain = Chain(
        run.executor.share(graph.graph),
        run.data,
        shares(form.model),
        Numbers.of(graph.constants, run.executor.share),
        waiting,
    )
    samples = run.readable(correction_samples(run))
    count = stages_together(form.model, waiting, len(samples))
    first = CorrectChain(replace(chain, stages=chain.stages[:count]), samples)
    results = yield from (
        _on_one(run, chain, count, affinity)
        if pieces is None or first.key in run.journal
        else _on_all(run, MovingCut(Network(graph.graph)), chain, pieces)
    )
    state = form.state
    for layer, result in zip((layer for stage in waiting for layer in stage), results, strict=True):
        name = layer.layer.name
        weight = replace(layer.weight, integers=result["integers"])
        state = replace(state, weights={**state.weights, name: weight})
        state = state.with_biases({name: layer.bias(result)})
    corrected_layers = {layer.name for stage in found for layer in stage}
    return (yield from restore_squashed(run, replace(form, state=state), corrected_layers, samples))


def stages_together(model: ir.Model, waiting: Sequence[object], images: int) -> int:
    """How many of the stages that wait one worker corrects in a unit, measured on so many images."""
    work = images * sum(map(multiplications, compute_nodes(model)))
    units = max(1, -(-work // WORK_TOGETHER))
    return max(STAGES_TOGETHER, -(-len(waiting) // units))


def _on_one(run: Run, chain: Chain, count: int, affinity: int) -> Steps[list[Arrays]]:
    """Have one worker correct all, so many stages in one unit."""
    samples = run.readable(correction_samples(run))
    found: list[Arrays] = []
    while chain.stages:
        together = replace(chain, stages=chain.stages[:count])
        unit = CorrectChain(together, samples, affinity)
        results = yield [unit]
        run.count_int8([unit], results)
        layers = unit.each(results[0])
        found += layers
        run.reporter.advance(len(layers))
        if len(chain.stages) <= count:
            break
        chain = chain.rest(layers, run.executor.share, count)
    return found


def _on_all(run: Run, cut: MovingCut, chain: Chain, count: int) -> Steps[list[Arrays]]:
    """Have all workers measure what a stage's layers read, and round them; nothing known is done again."""
    pieces = deal(run.readable(correction_samples(run)), count)
    found: list[Arrays] = []
    while chain.stages:
        units = chain.first(cut, pieces)
        parts = [unit.parts() for unit in units]
        correcting = [part for own in parts for part in own]
        if not all(part.key in run.journal for part in correcting):
            inputs = {unit.input_key: unit.measuring for unit in units}
            moments = yield [replace(m, affinity=i) for each in inputs.values() for i, m in enumerate(each)]
            sums = [total(moments[i : i + len(pieces)]) for i in range(0, len(moments), len(pieces))]
            correcting = with_moments(correcting, dict(zip(inputs, sums, strict=True)))
        results = yield correcting
        run.count_int8(correcting, results)
        ends = list(accumulate(map(len, parts), initial=0))
        layers = [unit.joined(results[i:j]) for unit, (i, j) in zip(units, pairwise(ends), strict=True)]
        found += layers
        run.reporter.advance(len(layers))
        chain = chain.rest(layers, run.executor.share)
    return found


def _pieces(run: Run, form: Form) -> int:
    """How many units share the samples: one for each worker, if it has enough to do."""
    work = sum(map(multiplications, compute_nodes(form.model)))
    least = max(1, round(LEAST_STAGE_WORK * len(stages(form.model, form.plan)) / max(1, work)))
    return max(
        1, min(MOMENTS_UNITS, run.executor.workers, len(run.readable(correction_samples(run))) // least)
    )


def _uncorrected(run: Run, form: Form, names: Names, layer: Layer, integers: str) -> Uncorrected:
    """A layer that reads an integer tensor of the graph that is run."""
    geometry = Geometry.of(form.model, layer)
    weight = form.state.weights[layer.name]
    taps = math.prod(geometry.taps)
    inputs = weight.integers.size // weight.channels // math.prod(geometry.kernel) * taps
    patches, blocks, original = 0, 1, None
    if run.options.rounding == "gptq" and _has_patches(geometry) and inputs > 1:
        blocks = cut_into(inputs // taps, taps)
        samples = max(LEAST_PATCHES, PATCHES_PER_INPUT * inputs // blocks)
        patches = -(-samples // len(run.readable(correction_samples(run))))
        original = float_weight(form.model, layer)
    encoding = form.state.encodings[form.plan.by_tensor[layer.inputs[0]].name]
    read = LayerInput(integers, encoding.zero_point, geometry, patches, blocks)
    mean = (form.means or {})[layer.name]
    held = HeldBias.of(form.plan, form.state.encodings, weight.scale, layer)
    return Uncorrected(layer, names, read, encoding.scale, weight, original, mean, held)


def _has_patches(geometry: Geometry) -> bool:
    """Whether all outputs multiply patches of one shape: of a ConvTranspose its phases have to be alike."""
    if geometry.op != "ConvTranspose":
        return True
    whole = all(k % s == 0 for k, s in zip(geometry.kernel, geometry.strides, strict=True))
    return whole and all(d == 1 for d in geometry.dilations)


def cut_into(channels: int, kernel: int) -> int:
    """The fewest equal blocks of channels, a kernel each, that stay within ``LARGEST_COVARIANCE``.

    Of a prime number of channels each is a block, and what is left of rounding by covariance is within them.
    """
    return next(
        n
        for n in range(1, channels + 1)
        if channels % n == 0 and (channels // n * kernel <= LARGEST_COVARIANCE or n == channels)
    )
