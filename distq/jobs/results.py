"""What a job gives back; ``metrics.json`` holds the same numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


def _unbounded(value: object) -> object:
    return math.inf if value is None else value


Unbounded = Annotated[float, BeforeValidator(_unbounded)]
"""A figure that may be infinite, which JSON writes as null."""


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


class Comparison(_Result):
    """The calibrated model (before) and the tuned one (after) on the same images."""

    images: int
    before: Accuracy
    after: Accuracy | None = None
    float: FloatAccuracy | None = None


class Cost(_Result):
    """What the job took; forwards in whole-network equivalents."""

    fp32_forwards: float
    int8_forwards: float
    seconds: float
    workers: int
    peak_rss_mb: float


class FloatLayer(_Result):
    """A layer that stays float, and why."""

    name: str
    reason: str


class CurvePoint(_Result):
    """The network on the tuning images with the first ``budget`` of what ``tune`` chose to make better.

    Attributes:
        budget: how many: 16-bit activations first, then float layers.
        int16, float_layers: which; the worst first.
        nmse, sqnr_db: as in :class:`Accuracy`.
    """

    budget: int
    int16: tuple[str, ...]
    float_layers: tuple[str, ...]
    nmse: Unbounded
    sqnr_db: Unbounded


class RunResult(_Result):
    """Outcome of calibrate or tune; ``curve`` is there where a budget was given."""

    out: Path
    files: tuple[Path, ...]
    holdout: Comparison | None
    tuning: Comparison | None
    cost: Cost
    float_layers: tuple[FloatLayer, ...] = ()
    warnings: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


class LayerStep(_Result):
    """The network with INT8 from its first layer to this one."""

    layer: str
    nmse: Unbounded
    sqnr_db: Unbounded


class TensorCost(_Result):
    """What one quantizer costs.

    Attributes:
        tensor: its name.
        bits: its width.
        alone_nmse, alone_sqnr_db: with only this tensor quantized, weights in float.
        without_nmse, without_sqnr_db: of the INT8 network with this tensor in float.
        part: share of the INT8 network's NMSE that leaves with it.
    """

    tensor: str
    bits: int
    alone_nmse: Unbounded
    alone_sqnr_db: Unbounded
    without_nmse: Unbounded
    without_sqnr_db: Unbounded
    part: float


class DiffResult(_Result):
    """Outcome of diff.

    Attributes:
        images: how many were compared.
        layers: the INT8 layers; None: all.
        network: the network with these layers in INT8 against float.
        steps: where asked for, a line per layer in graph order.
        tensors: where asked for, a line per quantizer, the worst inside the network first.
    """

    images: int
    layers: tuple[str, ...] | None
    network: Accuracy
    steps: tuple[LayerStep, ...] = ()
    tensors: tuple[TensorCost, ...] = ()


class EvaluateResult(_Result):
    """Outcome of eval: against float where ``against`` was given, top-k where there are labels."""

    images: int
    candidate: Accuracy | FloatAccuracy | None
    against: FloatAccuracy | None = None
