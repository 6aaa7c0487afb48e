"""Measures on a worker: samples as a measure is told of them, and records packed into plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.annotations import Objects
from distq.data.dataset import DatasetSpec, Sample, SourceDataset
from distq.data.layout import image_layout
from distq.data.objects import Truth
from distq.data.samples import InputSpec
from distq.errors import DataError, ModelError
from distq.replica.samples import open_dataset
from distq.replica.worker import Arrays, Worker
from distq.search.measures.measure import Facts, Measure, Outputs, Record


@dataclass(frozen=True)
class Measuring:
    """What measures need on a worker.

    Attributes:
        measures: each scores every model.
        names: of the outputs, in the order that they are compared in.
        truth: where objects are annotated; None where no measure wants them.
    """

    measures: tuple[Measure, ...] = ()
    names: tuple[str, ...] = ()
    truth: Truth | None = None

    @property
    def key(self) -> list[object]:
        """Identity."""
        return [[m.key for m in self.measures], self.names, self.truth.annotations if self.truth else None]


NOTHING = Measuring()
"""No measure."""


class Records:
    """Records of measures on the samples of a unit, by measure and model."""

    def __init__(self, measuring: Measuring, models: int) -> None:
        """Begin with none.

        Args:
            measuring: what is measured.
            models: candidates, without the float model.
        """
        self._measuring, self._models = measuring, models
        self._held: dict[tuple[int, int], list[Record]] = {}

    def add(
        self,
        worker: Worker,
        data: DatasetSpec,
        sample: Sample,
        outputs: Sequence[Sequence[npt.NDArray[Any]]],
        reference: Sequence[npt.NDArray[Any]] | None,
    ) -> None:
        """Score one sample.

        Args:
            worker: has the data open.
            data: where the sample is.
            sample: what the models were fed.
            outputs: of each candidate.
            reference: of the float model, which is scored too where a measure is of one network alone.
        """
        if not self._measuring.measures:
            return
        facts = facts_of(worker, data, sample, self._measuring.truth)
        for m, measure in enumerate(self._measuring.measures):
            compared = None if reference is None else measure.postprocess(self._named(reference), facts)
            beside = Facts(**{**vars(facts), "float_outputs": compared})
            for i, one in enumerate(outputs):
                self._score(m, i, measure, measure.postprocess(self._named(one), beside), beside)
            if compared is not None and not measure.needs_float:
                self._score(m, self._models, measure, compared, facts)

    def arrays(self) -> Arrays:
        """``record/MEASURE/MODEL/N`` of each, float64; the float model is the last."""
        return {
            f"record/{m}/{i}/{n}": record
            for (m, i), records in self._held.items()
            for n, record in enumerate(records)
        }

    def _score(self, m: int, model: int, measure: Measure, found: Outputs, facts: Facts) -> None:
        record = measure.score(found, facts)
        if record is None:
            return
        values = np.asarray(record, np.float64)
        if np.isnan(values).any():
            raise DataError(
                f"measure {measure.name} gives NaN on {facts.name}: mend its score, or let it give None there"
            )
        self._held.setdefault((m, model), []).append(values)

    def _named(self, outputs: Sequence[npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        return dict(zip(self._measuring.names, outputs, strict=True))


def records_of(results: Sequence[Arrays], measure: int, model: int) -> list[Record]:
    """The records of one measure and model, in the order of the samples."""
    found = []
    for result in results:
        prefix, number = f"record/{measure}/{model}/", 0
        while f"{prefix}{number}" in result:
            found.append(result[f"{prefix}{number}"])
            number += 1
    return found


def facts_of(worker: Worker, data: DatasetSpec, sample: Sample, truth: Truth | None) -> Facts:
    """What a measure is told of a sample, but for the float outputs."""
    objects = None if truth is None else _objects(worker, data, sample, truth)
    return Facts(sample.index, sample.name, sample.inputs, sample.label, objects)


def _objects(worker: Worker, data: DatasetSpec, sample: Sample, truth: Truth) -> Objects:
    dataset = open_dataset(worker.datasets, data)
    opened: Truth = worker.datasets.setdefault(("truth", truth), truth)
    if not isinstance(dataset, SourceDataset):
        raise ModelError("objects are of pictures in a source that distq reads")
    spec, size = picture_input(data.inputs, sample.inputs)
    return opened.objects(dataset, sample.index, spec, size)


def picture_input(
    inputs: Sequence[InputSpec], fed: Mapping[str, npt.NDArray[Any]]
) -> tuple[InputSpec, tuple[int, int]]:
    """The input that takes a picture, and its height and width.

    Raises:
        ModelError: no input has four dimensions.
    """
    for spec in inputs:
        shape = fed[spec.name].shape
        if len(shape) == 4:
            rows = 1 if image_layout(spec) == "nhwc" else 2
            return spec, (shape[rows], shape[rows + 1])
    raise ModelError("detections are measured in pictures: this model has no input of four dimensions")
