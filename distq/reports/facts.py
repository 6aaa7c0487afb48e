"""What the page shows of a run, read from its files once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.calibration.histogram import Distribution
from distq.quant.table import Row
from distq.run.results import Accuracy, DiffResult, RunResult, SearchedLayer
from distq.search.metrics import ImageStatistics
from distq.search.tried import Tried


@dataclass(frozen=True)
class Fit:
    """What a threshold does to the values of its tensor.

    Attributes:
        threshold: of magnitudes.
        over_largest: threshold over the largest magnitude observed.
        clipped: share of the values beyond the quantizer's range.
        sqnr_db: of the quantized values against the values, in dB; infinite without any error.
    """

    threshold: float
    over_largest: float
    clipped: float
    sqnr_db: float


@dataclass(frozen=True)
class TensorFacts:
    """One tensor.

    Attributes:
        name: of the tensor in the user's model.
        kind: ONNX operator that writes it, ``input`` for a network input, empty where it is not known.
        row: of the run's table; None: it is not quantized.
        before: of the table that the search started from; None: there was no search.
        distribution: of its values; None where RUN does not have it.
        rescaled: the channels were evened out or the threshold has headroom, so that ``row`` is not of the
            values that ``distribution`` counts.
        fit, fit_before: what the two thresholds do to the values; None where that cannot be said.
        methods: what each method chooses from the distribution.
        search: what the search made of it; None: it was not searched.
        tried: every candidate of the search; none where the journal does not have them.
        reason: why it stays float; empty where it does not.
    """

    name: str
    kind: str
    row: Row | None
    before: Row | None
    distribution: Distribution | None
    rescaled: bool
    fit: Fit | None
    fit_before: Fit | None
    methods: Mapping[str, Fit]
    search: SearchedLayer | None
    reason: str
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True)
class LayerFacts:
    """Weights of one layer of the exported model.

    Attributes:
        name: of the layer: its output tensor.
        kind: its ONNX operator.
        bits: 8, or 32 where they stay float.
        ranges: largest magnitude of each output channel, float64 (channels,).
    """

    name: str
    kind: str
    bits: int
    ranges: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """95 % of what other samples of the same kind would give."""

    low: float
    high: float


Detections = npt.NDArray[np.float64]
"""Of one sample, (n, 6): left, top, right, bottom, class and score."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out samples one by one.

    Attributes:
        statistics: by model: ``before``, and ``after`` where there was a search.
        sqnr_db: interval of each model's SQNR, by the same names.
        gain_db: interval of what the search gained; None where there was none.
        samples: index of each in its source; None where the journal does not tell.
        top1: by model and for ``float``, int8 (samples,): 1 right, 0 wrong, -1 without a label.
        boxes: of a detector that was measured, by the same names what it is sure of in each sample, with
            corners as fractions of the network's input.
    """

    statistics: Mapping[str, ImageStatistics]
    sqnr_db: Mapping[str, Interval]
    gain_db: Interval | None
    samples: tuple[int, ...] | None
    top1: Mapping[str, npt.NDArray[np.int8]]
    boxes: Mapping[str, tuple[Detections, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplePicture:
    """What is known of a sample in its source.

    Attributes:
        index: in the source.
        name: empty where it cannot be told.
        picture: a small one as a data URI; empty: none.
        label: of the source itself.
        size: height and width of the picture as it is stored; None: there is none.
    """

    index: int
    name: str
    picture: str
    label: int | None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class SampleFacts:
    """One held-out sample.

    Attributes:
        look: what it is.
        sqnr_db: of its outputs, by model as in :class:`HeldOut`.
        share: of the error over all held-out samples.
        right: whether the first choice is the label, by model and for ``float``; empty without a label.
        boxes: that the exported model and ``float`` are sure of, by these names, with corners as fractions of
            the picture; empty where that is not known.
    """

    look: SamplePicture
    sqnr_db: Mapping[str, float]
    share: float
    right: Mapping[str, bool]
    boxes: Mapping[str, Detections] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A choice that a run made by comparing networks on the tuning samples, or as ``kind`` says.

    Attributes:
        kind: what was chosen.
        chosen: what was taken.
        names: of the alternatives; fewer than ``diffs`` where the journal does not name them.
        diffs: NMSE of each.
    """

    kind: str
    chosen: str
    names: tuple[str, ...]
    diffs: tuple[float, ...]


@dataclass(frozen=True)
class SweepLine:
    """A run of a sweep, in the sweep's table.

    Attributes:
        name: of the run.
        link: to its own page, as seen from the page; empty: it has none.
        accuracy: on the held-out samples.
        float_layers, seconds, best_for_time, best_for_float_layers, error: as the sweep has them.
    """

    name: str
    link: str
    accuracy: Accuracy | None
    float_layers: int | None
    seconds: float | None
    best_for_time: bool
    best_for_float_layers: bool
    error: str | None


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        label: what the page calls it.
        path: its folder.
        record: content of ``run.json``.
        metrics: content of ``metrics.json``.
        result: the same, checked.
        tensors: in the order of the graph.
        layers: with weights, in the order of the graph.
        held_out: None where the journal does not have them.
        choices: in the order they were made.
        int8_bytes: of the exported model; None: there is none.
        float_bytes: of the user's model; None where it is not there any more, or is another.
        measured: what ``distq diff`` measured of it.
        worst: held-out samples that it answers worst.
    """

    label: str
    path: Path
    record: Mapping[str, Any]
    metrics: Mapping[str, Any]
    result: RunResult
    tensors: tuple[TensorFacts, ...]
    layers: tuple[LayerFacts, ...]
    held_out: HeldOut | None
    choices: tuple[Choice, ...]
    int8_bytes: int | None
    float_bytes: int | None
    measured: tuple[DiffResult, ...] = ()
    worst: tuple[SampleFacts, ...] = ()

    @property
    def command(self) -> str:
        """``calibrate``, ``tune`` or ``auto``."""
        return str(self.record.get("job", {}).get("command", ""))

    @property
    def by_name(self) -> dict[str, TensorFacts]:
        """The tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}
