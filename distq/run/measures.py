"""The measures that a job names, made for its network and its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.config import DEFAULT_DIFF, CalibrateOptions
from distq.data.annotations import load_annotations
from distq.data.dataset import DatasetSpec, Sample, UnreadableSample, load_ahead
from distq.data.objects import Truth
from distq.engine.progress import Reporter
from distq.errors import DataError, UsageError, one_of
from distq.replica.lowered import Lowered
from distq.replica.measured import Measuring, picture_input
from distq.replica.outputs import as_numbers
from distq.replica.session import Session, is_float
from distq.replica.user_measure import open_user_measure
from distq.replica.worker import WorkerSettings
from distq.run.figures import ComparedFigures, MeasureFigures
from distq.search.measures.class_names import class_map
from distq.search.measures.detection import Detection
from distq.search.measures.heads import HEADS
from distq.search.measures.measure import Facts, Measure, Outputs, Record, figures
from distq.search.measures.recognise import recognise
from distq.search.measures.similarity import Cosine, Nmse, Sqnr, Squared
from distq.search.measures.text import Text, recognise_text
from distq.search.measures.text_boxes import recognise_map
from distq.search.measures.top_k import TopK

_PLAIN: Mapping[str, Measure] = {
    **{measure.name: measure for measure in (Nmse(), Squared(), Cosine(), Sqnr(), TopK())},
    "top1": TopK("top1", (1,)),
    "top5": TopK("top5", (5,)),
}

_SEEN: Mapping[str, Callable[[Sequence[npt.NDArray[Any]], str], Measure]] = {
    "text": recognise_text,
    "text-boxes": recognise_map,
}
"""What makes a measure of the outputs on one sample, and of what the user wrote behind a colon."""

NAMES = (*_PLAIN, "detection", *_SEEN)
"""What ``--measure`` takes, beside a Python file."""

Named = str | Measure


def first_sample(data: DatasetSpec, indices: Sequence[int]) -> Sample:
    """The first sample that can be read.

    Raises:
        DataError: none can.
    """
    last = ""
    for one in load_ahead(data.open(), indices, 1, 1):
        if not isinstance(one, UnreadableSample):
            return one
        last = f" ({one})"
    raise DataError(f"no sample of {data.source} can be read: give others{last}")


def make_measuring(
    names: Sequence[Named],
    model: bytes,
    data: DatasetSpec,
    indices: Sequence[int],
    reporter: Reporter,
    *,
    annotations: Path | None = None,
    allow_code: bool = False,
) -> Measuring:
    """The measures of a job.

    Args:
        names: as the user gave them: names, Python files, or measures made in Python.
        model: the float model or, where there is none, the candidate, as ONNX bytes.
        data: where the samples are.
        indices: which are measured.
        reporter: told what a detector was taken for.
        annotations: boxes beside the data; None: those in the data, where it has any.
        allow_code: a user's file may run.

    Raises:
        InputError: a measure is not known, or does not fit the network or the data.
    """
    if not names:
        if annotations is not None:
            raise UsageError("--annotations are for --measure detection: give it too")
        return Measuring()
    session = Session(model, WorkerSettings(), fused=True, float_network=is_float(model))
    made: list[Measure] = []
    truth = None
    for name in names:
        kind, _, asked = name.partition(":") if isinstance(name, str) else ("", "", "")
        known = None if kind == "detection" or kind in _SEEN else _measure(name, allow_code=allow_code)
        if known is not None and not isinstance(known, TopK):
            made.append(known)
            continue
        sample = first_sample(data, indices if known is None else _from_first_label(data, indices))
        outputs = as_numbers(session.run(sample.inputs))
        if known is not None:
            made.append(_of_labels(known, dict(zip(session.outputs, outputs, strict=True)), sample))
            continue
        if kind in _SEEN:
            made.append(_SEEN[kind](outputs, asked))
            if isinstance(made[-1], Text):
                reporter.line(
                    f"text: the blank is {'' if asked else 'taken to be '}the {made[-1].blank} class"
                )
            continue
        truth = _truth(data, annotations, indices)
        size = picture_input(data.inputs, sample.inputs)[1]
        made.append(_detection(asked, outputs, size, (truth, data, indices), reporter))
    return Measuring(tuple(made), session.outputs, truth)


def names_measures(options: CalibrateOptions) -> bool:
    """Whether a measure is named, which is to see the outputs as the user gets them."""
    return bool(options.measure) or getattr(options, "diff", DEFAULT_DIFF) != DEFAULT_DIFF


def measures_of(
    options: CalibrateOptions,
    model: bytes,
    data: DatasetSpec,
    indices: Sequence[int],
    reporter: Reporter,
) -> tuple[Measuring, Lowered | None]:
    """What a run reports beside the similarity to float, and what its search lowers; None: the NMSE.

    Args:
        options: of calibrate, tune or diff.
        model: the float model whose outputs reports compare, as ONNX bytes.
        data: where the samples are.
        indices: that calibrate.
        reporter: told what a detector was taken for.

    Raises:
        InputError: a measure is not known, or does not fit the network, the data or the strategy.
    """
    diff = getattr(options, "diff", DEFAULT_DIFF)
    names: list[Named] = list(options.measure)
    if diff != DEFAULT_DIFF:
        if getattr(options, "strategy", None) == "tpu-mlir":
            raise UsageError("--strategy tpu-mlir compares inside the network: leave --diff out")
        names += [diff] if diff not in names else []
    measuring = make_measuring(
        names,
        model,
        data,
        indices,
        reporter,
        annotations=options.annotations,
        allow_code=options.allow_code,
    )
    if diff == DEFAULT_DIFF:
        return measuring, None
    return measuring, Lowered(measuring.measures[names.index(diff)], measuring.names)


def compared_figures(
    measure: Measure, before: Sequence[Record], after: Sequence[Record] | None, against: Sequence[Record]
) -> ComparedFigures:
    """What a measure makes of the records of a run's models."""
    return ComparedFigures(
        measure=measure.name,
        higher_is_better=measure.higher_is_better,
        before=_known(measure, before),
        after=None if after is None else _known(measure, after),
        float=_known(measure, against) or None,
    )


def measured(measure: Measure, candidate: Sequence[Record], against: Sequence[Record]) -> MeasureFigures:
    """What a measure makes of the records of the candidate and of float, without figures that are NaN."""
    return MeasureFigures(
        measure=measure.name,
        higher_is_better=measure.higher_is_better,
        candidate=_known(measure, candidate),
        against=_known(measure, against) or None,
    )


def _known(measure: Measure, records: Sequence[Record]) -> dict[str, float]:
    """Figures that are numbers."""
    found = figures(measure, records) if records else {}
    return {name: value for name, value in found.items() if not np.isnan(value)}


def _measure(name: Named, *, allow_code: bool) -> Measure:
    if isinstance(name, Measure):
        return name
    if name in _PLAIN:
        return _PLAIN[name]
    if name.endswith(".py"):
        return open_user_measure(Path(name), allow_code=allow_code)
    known = one_of([*NAMES, "a Python file"])
    raise UsageError(f"no measure is called {name!r}: it is {known}")


def _from_first_label(data: DatasetSpec, indices: Sequence[int]) -> Sequence[int]:
    """These samples from the first on that has a label; all of them where none has one."""
    dataset = data.open()
    labelled = (place for place, index in enumerate(indices) if dataset.label(index) is not None)
    return indices[next(labelled, 0) :]


def _of_labels(measure: Measure, outputs: Outputs, sample: Sample) -> Measure:
    """A measure of right answers, where samples say what is right.

    Raises:
        UsageError: they do not, or the network answers otherwise.
    """
    facts = Facts(sample.index, sample.name, sample.inputs, sample.label)
    if measure.score(outputs, facts) is None:
        raise UsageError(
            f"--measure {measure.name} needs labels and one row of class scores: give --labels FILE, or "
            "another measure"
        )
    return measure


_LOOKED_AT = 64
"""Samples of an LMDB, of which one is to have boxes."""


def _truth(data: DatasetSpec, annotations: Path | None, indices: Sequence[int]) -> Truth | None:
    """Where objects are annotated, if anywhere."""
    if annotations is not None:
        return Truth(str(annotations.absolute()))
    dataset = data.open()
    return Truth(None) if any(dataset.boxes(index) for index in indices[:_LOOKED_AT]) else None


def _detection(
    asked: str,
    outputs: Sequence[npt.NDArray[Any]],
    size: tuple[int, int],
    annotated: tuple[Truth | None, DatasetSpec, Sequence[int]],
    reporter: Reporter,
) -> Detection:
    """The measure of a network's detections; ``annotated`` says where objects are, and of which samples."""
    if asked and asked not in HEADS:
        raise UsageError(f"--measure detection:{asked}: known detectors are {one_of(HEADS)}")
    head = asked or recognise(outputs, size)
    if head is None:
        shapes = ", ".join("x".join(map(str, output.shape)) for output in outputs)
        raise UsageError(
            f"--measure detection: no known detector has outputs of {shapes}: name one as in "
            f"detection:yolov8 ({one_of(HEADS)}), or give a Python file"
        )
    truth, data, indices = annotated
    found = Detection(head, size, annotated=truth is not None)
    cells = found.cells(dict(zip(map(str, range(len(outputs))), outputs, strict=True)))
    reporter.line(
        f"detection: outputs {'taken' if asked else 'recognised'} as {head}, {len(cells.corners)} rows, "
        f"{cells.scores.shape[1]} classes; " + _objects(truth, data)
    )
    if truth is None or not cells.aligned:  # such outputs tell a class, not how many there are
        return found
    return replace(found, classes=_classes(truth, data, indices, cells.scores.shape[1]))


def _objects(truth: Truth | None, data: DatasetSpec) -> str:
    """What is taken for objects, for a person."""
    if truth is None:
        return "the float network's detections are taken for objects"
    by_number = truth.annotations is None and not data.classes
    return "boxes are annotated" + (", classes by number" if by_number else "")


def _classes(truth: Truth, data: DatasetSpec, indices: Sequence[int], own: int) -> tuple[int, ...]:
    """The network's class of each class of the annotations; empty: the same.

    Raises:
        UsageError: the annotations have others.
    """
    remedy = "give annotations with the network's classes, in its order"
    if truth.annotations is None and not data.classes:
        dataset = data.open()
        largest = max(box.label for index in indices[:_LOOKED_AT] for box in dataset.boxes(index))
        if largest > own:
            raise UsageError(
                f"boxes in {data.source} are of class {largest}, the network has {own}: {remedy}"
            )
        return ()
    where = "the label_map_file of the data layer has"
    names = data.classes
    if truth.annotations is not None:
        where = f"annotations {truth.annotations} have"
        names = load_annotations(Path(truth.annotations)).classes
    found = class_map(names, own)
    if found is None:
        raise UsageError(
            f"{where} {len(names)} classes, the network {own}, and names do not tell which is which: {remedy}"
        )
    return found
