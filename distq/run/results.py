"""What a job gives back; ``metrics.json`` holds the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from distq.run.auto_report import AutoReport
from distq.run.figures import Bounded, ComparedFigures, MeasureFigures, Result, Speed, Unbounded
from distq.run.time_limit import TimeEnd


class Accuracy(Result):
    """One INT8 model against float over some images.

    NMSE is sum((y8-y32)^2)/sum(y32^2) over all images, averaged over the network outputs; SQNR its -10 log10,
    infinite where the two are equal.
    top1 and top5 are fractions, None where there are no labels.
    """

    nmse: Unbounded
    sqnr_db: Unbounded
    cosine: float
    top1: float | None = None
    top5: float | None = None


class FloatAccuracy(Result):
    """Top-1 and top-5 of the float model, as fractions."""

    top1: float
    top5: float


class Comparison(Result):
    """The calibrated model (before) and the tuned one (after) on the same images.

    ``measures`` are those asked for; where there are none, files and JSON do not have the field.
    """

    images: int
    before: Accuracy
    after: Accuracy | None = None
    float: FloatAccuracy | None = None
    measures: tuple[ComparedFigures, ...] = ()

    @model_serializer(mode="wrap")
    def _only_what_was_asked_for(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        return {name: value for name, value in found.items() if name != "measures" or value}


class SearchCost(Result):
    """What the search layer by layer took, of the job's cost.

    Attributes:
        candidates: scored, as the strategy's serial rule counts them.
        dropped: of these, given up before they were scored on all images.
        int8_forwards: in whole-network equivalents; a candidate runs only what lies behind its tensor.
        serial_forwards: what a loop runs that puts every image through the whole network for every candidate.
        seconds: of this call; finished work recalled from the journal takes next to none.
    """

    candidates: int
    dropped: int
    int8_forwards: float
    serial_forwards: int
    seconds: float


class Cost(Result):
    """What the job took; forwards in whole-network equivalents.

    Attributes:
        peak_rss_mb: the most memory that the driver and each worker in a process of its own have had, summed,
            in MiB; without workers that were lost.
        driver_peak_rss_mb: the driver's part.
        worker_peak_rss_mb: each worker's; empty where the driver does the work itself.
    """

    fp32_forwards: float
    int8_forwards: float
    seconds: float
    workers: int
    peak_rss_mb: float
    driver_peak_rss_mb: float | None = None
    worker_peak_rss_mb: tuple[float, ...] = ()
    search: SearchCost | None = None


class InsignificantCandidate(Result):
    """A threshold that was better on the mean over the tuning samples, but may have been so by chance.

    Attributes:
        threshold: the candidate.
        gain: mean diff of the starting threshold less its own.
        t: the paired statistic, negative; None where all images differ alike.
        reason: why that is not enough.
    """

    threshold: float
    gain: Unbounded
    t: Bounded
    reason: str


class SearchedLayer(Result):
    """What the search made of one tensor.

    Attributes:
        name: of its quantizer.
        start: threshold before the search.
        threshold: and after it.
        before: mean diff over the tuning samples with ``start``, as the strategy measures it.
        after: and with ``threshold``.
        scored: candidates, as the strategy's serial rule counts them.
        dropped: of these, given up before they were scored on all images.
        accepted: whether a candidate replaced the start.
        reason: why, in a few words.
        insignificant: candidates better on the mean, but not significantly; the best first.
        seconds: it took.
    """

    name: str
    start: float
    threshold: float
    before: Unbounded
    after: Unbounded
    scored: int
    dropped: int
    accepted: bool
    reason: str
    insignificant: tuple[InsignificantCandidate, ...]
    seconds: float


class FloatLayer(Result):
    """A layer that stays float, and why."""

    name: str
    reason: str


class IntegerKernels(Result):
    """How much of a network ONNX Runtime runs on integers.

    Attributes:
        layers: Conv, Gemm, MatMul and their kind that do.
        of: all there are.
        multiplications: the share of the network's multiplications that these do, 0 to 1; sizes that the
            model leaves open count as 1.
    """

    layers: int
    of: int
    multiplications: float


class CurvePoint(Result):
    """The network on the tuning samples with the first ``budget`` of what ``tune`` chose to make better.

    Attributes:
        budget: how many: 16-bit activations first, then float layers.
        int16, float_layers: which; the worst first. A tensor that only float layers read is left out.
        nmse, sqnr_db: as in :class:`Accuracy`.
    """

    budget: int
    int16: tuple[str, ...]
    float_layers: tuple[str, ...]
    nmse: Unbounded
    sqnr_db: Unbounded


class RunResult(Result):
    """Outcome of calibrate, tune or auto.

    Attributes:
        layers: what the search made of tensors, where no later choice replaced it.
        curve: what a budget was spent on.
        auto: what ``distq auto`` tried and chose.
        integer_kernels: what runs on integers; None where the target is not run by ONNX Runtime.
        speed: of the INT8 model beside float, with ``--report``; else None.
        ended: what ``--time`` left out; None where it left nothing out.
    """

    out: Path
    files: tuple[Path, ...]
    holdout: Comparison | None
    tuning: Comparison | None
    cost: Cost
    float_layers: tuple[FloatLayer, ...] = ()
    warnings: tuple[str, ...] = ()
    layers: tuple[SearchedLayer, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    auto: AutoReport | None = None
    integer_kernels: IntegerKernels | None = None
    speed: Speed | None = None
    ended: TimeEnd | None = None


class LayerStep(Result):
    """The network with INT8 from its first layer to this one.

    ``diff`` is the mean loss of the measure that ``--diff`` names; None: the NMSE is compared.
    """

    layer: str
    nmse: Unbounded
    sqnr_db: Unbounded
    diff: Unbounded | None = None


class LargestStep(Result):
    """A layer with which the error grew most, as INT8 grew from layer to layer.

    Attributes:
        layer: that came into INT8.
        before, after: SQNR of the outputs in dB without and with it; the mean loss where a measure was named.
    """

    layer: str
    before: Unbounded
    after: Unbounded


class TensorCost(Result):
    """What one quantizer costs.

    Attributes:
        tensor: its name.
        bits: its width.
        alone_nmse, alone_sqnr_db: with only this tensor quantized, weights in float.
        without_nmse, without_sqnr_db: of the INT8 network with this tensor in float.
        alone_diff, without_diff: the mean loss then, of the measure that ``--diff`` names; else None.
        part: share of the INT8 network's NMSE, or of that loss, which leaves with it.
    """

    tensor: str
    bits: int
    alone_nmse: Unbounded
    alone_sqnr_db: Unbounded
    without_nmse: Unbounded
    without_sqnr_db: Unbounded
    alone_diff: float | None = None
    without_diff: float | None = None
    part: float


class DiffResult(Result):
    """Outcome of diff.

    Attributes:
        images: how many were compared.
        layers: the INT8 layers; None: all.
        network: the network with these layers in INT8 against float.
        diff: its mean loss of the measure that ``--diff`` names; None: the NMSE is compared.
        steps: where asked for, a line per layer in graph order.
        largest: those of them that the error grew most with, the largest first.
        folded: of the layers compared that are several nodes, such as a Conv and its Relu, the other names.
        tensors: where asked for, a line per quantizer, the worst inside the network first.
    """

    images: int
    layers: tuple[str, ...] | None
    network: Accuracy
    diff: Unbounded | None = None
    steps: tuple[LayerStep, ...] = ()
    largest: tuple[LargestStep, ...] = ()
    folded: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tensors: tuple[TensorCost, ...] = ()


class EvaluateResult(Result):
    """Outcome of eval: against float where ``against`` was given, top-k where there are labels.

    ``measures`` and ``speed`` are there where they were asked for.
    """

    images: int
    candidate: Accuracy | FloatAccuracy | None
    against: FloatAccuracy | None = None
    measures: tuple[MeasureFigures, ...] = ()
    speed: Speed | None = None
