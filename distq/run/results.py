"""What a job gives back; ``metrics.json`` holds the same numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from distq.run.auto_report import AutoReport


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


def _unbounded(value: object) -> object:
    return math.inf if value is None else value


def _bounded(value: object) -> object:
    return None if isinstance(value, float) and math.isinf(value) else value


Unbounded = Annotated[float, BeforeValidator(_unbounded)]
"""A figure that may be infinite, which JSON writes as null."""

Bounded = Annotated[float | None, BeforeValidator(_bounded)]
"""A figure that is None where it has no finite value."""


class Accuracy(_Result):
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


class FloatAccuracy(_Result):
    """Top-1 and top-5 of the float model, as fractions."""

    top1: float
    top5: float


class ComparedFigures(_Result):
    """What a measure says of the calibrated model, of the tuned one, and of float where it can.

    Attributes:
        measure: its name.
        higher_is_better: of its first figure.
        before, after, float: figures by name.
    """

    measure: str
    higher_is_better: bool
    before: dict[str, Unbounded]
    after: dict[str, Unbounded] | None = None
    float: dict[str, Unbounded] | None = None


class Comparison(_Result):
    """The calibrated model (before) and the tuned one (after) on the same images."""

    images: int
    before: Accuracy
    after: Accuracy | None = None
    float: FloatAccuracy | None = None
    measures: tuple[ComparedFigures, ...] = ()


class SearchCost(_Result):
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


class Cost(_Result):
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


class InsignificantCandidate(_Result):
    """A threshold that was better on the mean over the tuning images, but may have been so by chance.

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


class SearchedLayer(_Result):
    """What the search made of one tensor.

    Attributes:
        name: of its quantizer.
        start: threshold before the search.
        threshold: and after it.
        before: mean diff over the tuning images with ``start``, as the strategy measures it.
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


class FloatLayer(_Result):
    """A layer that stays float, and why."""

    name: str
    reason: str


class IntegerKernels(_Result):
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


class CurvePoint(_Result):
    """The network on the tuning images with the first ``budget`` of what ``tune`` chose to make better.

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


class RunResult(_Result):
    """Outcome of calibrate, tune or auto.

    Attributes:
        layers: what the search made of tensors, where no later choice replaced it.
        curve: what a budget was spent on.
        auto: what ``distq auto`` tried and chose.
        integer_kernels: what runs on integers; None where the target is not run by ONNX Runtime.
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


class LayerStep(_Result):
    """The network with INT8 from its first layer to this one.

    ``diff`` is the mean loss of the measure that ``--diff`` names; None: the NMSE is compared.
    """

    layer: str
    nmse: Unbounded
    sqnr_db: Unbounded
    diff: Unbounded | None = None


class TensorCost(_Result):
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


class DiffResult(_Result):
    """Outcome of diff.

    Attributes:
        images: how many were compared.
        layers: the INT8 layers; None: all.
        network: the network with these layers in INT8 against float.
        diff: its mean loss of the measure that ``--diff`` names; None: the NMSE is compared.
        steps: where asked for, a line per layer in graph order.
        tensors: where asked for, a line per quantizer, the worst inside the network first.
    """

    images: int
    layers: tuple[str, ...] | None
    network: Accuracy
    diff: Unbounded | None = None
    steps: tuple[LayerStep, ...] = ()
    tensors: tuple[TensorCost, ...] = ()


class Latency(_Result):
    """What one model takes on this machine.

    Attributes:
        median_ms: of a forward of one sample.
        low_ms, high_ms: between which four of five forwards lie.
        memory_mb: peak of the process above what it had before it opened the model, in MiB; not a GPU's.
        file_mb: of the model's file and the weights beside it, in MiB.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    memory_mb: float
    file_mb: float


class Speed(_Result):
    """Models timed side by side on this machine.

    Attributes:
        provider: ONNX Runtime's execution provider, such as CPUExecutionProvider.
        threads: of a session.
        runs: forwards of each model that were timed.
        candidate: the model measured.
        against: the float model, where there is one.
        ratio: float's median over the candidate's: above 1 the candidate is faster.
    """

    provider: str
    threads: int
    runs: int
    candidate: Latency
    against: Latency | None = None
    ratio: float | None = None


class MeasureFigures(_Result):
    """What a measure says.

    Attributes:
        measure: its name.
        higher_is_better: of its first figure.
        candidate: figures of the model measured, by name.
        against: those of the float model, where the measure is of one model alone.
    """

    measure: str
    higher_is_better: bool
    candidate: dict[str, Unbounded]
    against: dict[str, Unbounded] | None = None


class EvaluateResult(_Result):
    """Outcome of eval: against float where ``against`` was given, top-k where there are labels.

    ``measures`` and ``speed`` are there where they were asked for.
    """

    images: int
    candidate: Accuracy | FloatAccuracy | None
    against: FloatAccuracy | None = None
    measures: tuple[MeasureFigures, ...] = ()
    speed: Speed | None = None
