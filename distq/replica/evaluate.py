"""Unit that compares whole INT8 models with float, and counts right answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec, Sample, UnreadableSample
from distq.replica.float32 import keep_outputs, known_outputs, open_session, unreadable_arrays
from distq.replica.keys import content_key
from distq.replica.lowered import Lowered
from distq.replica.measured import NOTHING, Measuring, Records
from distq.replica.open_sizes import run_sample
from distq.replica.outputs import as_numbers
from distq.replica.samples import read_samples
from distq.replica.session import Session
from distq.replica.side_by_side import samples_side_by_side
from distq.replica.worker import Arrays, Blob, Worker
from distq.search.metrics import ImageStatistics, compare, top_k

STATISTICS = ("error", "power", "candidate_power", "dot")


@dataclass(frozen=True)
class Evaluate:
    """Run models and the float model on samples.

    Attributes:
        models: candidates, as ONNX bytes; ONNX Runtime fuses them itself, as it does for a user.
        float_model: what they are compared with; None to count right answers alone.
        data, indices: the samples.
        affinity: of units on the same samples, so that a worker finds the float outputs it has.
        again: other units compare the same samples, so the worker keeps them and their float outputs.
        measuring: what else is measured.
        lowered: also give this loss, which choices go by.
    """

    models: tuple[Blob, ...]
    float_model: Blob | None
    data: DatasetSpec
    indices: Sequence[int]
    affinity: int | None = None
    again: bool = False
    measuring: Measuring = NOTHING
    lowered: Lowered | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        against = self.float_model.sha256 if self.float_model else None
        return content_key(
            "evaluate",
            [m.sha256 for m in self.models],
            against,
            self.data.source,
            self.data.labels,
            self.indices,
            *(self.measuring.key if self.measuring.measures else ()),
            *(self.lowered.key if self.lowered else ()),
        )

    @property
    def label(self) -> str:
        """For a person."""
        return f"evaluate, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``error``, ``power``, ``candidate_power``, ``dot``: (models, images, outputs).

        ``top1``, ``top5``: (models [+ float], images), -1 without label. And the records of measures.
        ``loss``: (models, images, outputs), see :class:`~distq.replica.lowered.Lowered`.
        """
        records = Records(self.measuring, len(self.models))
        statistics: list[list[list[npt.NDArray[Any]]]] = [[] for _ in STATISTICS]
        losses: list[list[npt.NDArray[np.float64]]] = []
        hits: list[list[tuple[int, int]]] = []
        unreadable: list[UnreadableSample] = []
        for one in samples_side_by_side(worker, self._compare, self._started(worker)):
            if isinstance(one, UnreadableSample):
                unreadable.append(one)
                continue
            sample, outputs, reference = one.sample, one.outputs, one.reference
            if self.float_model is not None and reference is not None:
                if self.again:
                    keep_outputs(worker, self.float_model, self.data, sample.index, reference)
                losses.append(self._losses(worker, sample, outputs, reference))
            for held, name in zip(statistics, STATISTICS, strict=True):
                held.append([getattr(row, name)[0] for row in one.rows])
            records.add(worker, self.data, sample, outputs, reference)
            if reference is not None:
                outputs.append(reference)
            hits.append([_hits(o[0], sample.label) for o in outputs])
        result: Arrays = unreadable_arrays(unreadable) | records.arrays()
        images, compared = len(hits), len(self.models)
        if self.float_model is not None:
            shape = (images, compared, len(open_session(worker, self.float_model).outputs))
            compared += 1
            for held, name in zip(statistics, STATISTICS, strict=True):
                result[name] = np.array(held, np.float64).reshape(shape).swapaxes(0, 1)
            if self.lowered is not None:
                result["loss"] = np.array(losses, np.float64).reshape(shape).swapaxes(0, 1)
        both = np.array(hits, np.int8).reshape(images, compared, 2)
        result["top1"], result["top5"] = both[..., 0].T, both[..., 1].T
        return result

    def _losses(
        self,
        worker: Worker,
        sample: Sample,
        outputs: Sequence[list[npt.NDArray[Any]]],
        reference: list[npt.NDArray[Any]],
    ) -> list[npt.NDArray[np.float64]]:
        """Each model's loss on a sample, where that is what choices go by."""
        if self.lowered is None:
            return []
        beside = self.lowered.beside(worker, self.data, sample.index, reference)
        return [self.lowered.error(own, beside) for own in outputs]

    def _started(self, worker: Worker) -> Iterator[_Start | UnreadableSample]:
        """The samples, each with what the worker has to run it on."""
        for sample in read_samples(worker, self.data, self.indices, keep=self.again):
            if isinstance(sample, UnreadableSample):
                yield sample
                continue
            sessions = [open_session(worker, model) for model in self.models]
            session = reference = None
            if self.float_model is not None:
                session = open_session(worker, self.float_model)
                reference = known_outputs(worker, self.float_model, self.data, sample.index)
            yield _Start(sample, sessions, session, reference)

    def _compare(self, start: _Start) -> _Compared:
        """Run the models and the float model on a sample, where its outputs are not known."""
        sample, reference = start.sample, start.reference
        outputs = [
            as_numbers(run_sample(session, self.data.inputs, sample.inputs, f"sample {sample.name}"))
            for session in start.sessions
        ]
        if reference is None and start.float_session is not None:
            reference = as_numbers(start.float_session.run(sample.inputs))
        rows = [] if reference is None else [compare(own, reference) for own in outputs]
        return _Compared(sample, outputs, reference, rows)


@dataclass(frozen=True)
class _Start:
    """A sample, the models' sessions and the float model's, and the float outputs where they are known."""

    sample: Sample
    sessions: Sequence[Session]
    float_session: Session | None
    reference: list[npt.NDArray[Any]] | None


@dataclass(frozen=True)
class _Compared:
    """A sample, the outputs of each model and of float, and how far each model's are from these."""

    sample: Sample
    outputs: list[list[npt.NDArray[Any]]]
    reference: list[npt.NDArray[Any]] | None
    rows: Sequence[ImageStatistics]


def joined(parts: Sequence[Arrays]) -> Arrays:
    """What one unit would have found of several models, from units that each ran one on the same samples."""
    found: Arrays = {name: parts[0][name] for name in ("unreadable", "reasons")}
    for name in (*STATISTICS, "loss"):
        if name in parts[0]:
            found[name] = np.concatenate([part[name] for part in parts])
    for name in ("top1", "top5"):
        found[name] = np.concatenate([*(part[name][:1] for part in parts), parts[0][name][1:]])
    for i, part in enumerate(parts):
        for name in part:
            kind, *place = name.split("/")
            if kind != "record":
                continue
            measure, model, number = place
            if model == "0":
                found[f"record/{measure}/{i}/{number}"] = part[name]
            elif not i:  # of the float model, which all have run
                found[f"record/{measure}/{len(parts)}/{number}"] = part[name]
    return found


def _hits(logits: npt.NDArray[Any], label: int | None) -> tuple[int, int]:
    """Top-1 and top-5; -1 without a label, and for an output that is not one row of class scores."""
    if label is None or label >= logits.size or logits.squeeze().ndim != 1:
        return -1, -1
    return int(top_k(logits, label, 1)), int(top_k(logits, label, 5))
