"""What a run keeps of its held-out samples, one by one, for the page: results of units do not outlive it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.engine.journal import Journal
from distq.replica.evaluate import STATISTICS
from distq.replica.measured import Measuring, records_of
from distq.replica.worker import Arrays
from distq.search.measures.detection import Detection, sure_boxes

LABEL = "held-out samples"
"""Of the units that have them."""

_TOGETHER = 16
"""Samples of a unit: few enough that it stays inside the journal."""


def record_held_out(
    journal: Journal, results: Sequence[Arrays], indices: Sequence[int], measuring: Measuring
) -> None:
    """Write down what the models did on each sample.

    ``STATISTICS`` and ``top1`` as :class:`~distq.replica.evaluate.Evaluate` gives them, and ``indices`` of
    the samples. Of a detector that is measured also ``size``, height and width of its input, and
    ``boxes/M/N``, (n, 6): what model M, the last of which is float, is sure of in the Nth sample
    (:func:`~distq.search.measures.detection.sure_boxes`).

    Args:
        journal: of the run.
        results: of the samples.
        indices: of the samples, in their order.
        measuring: what was measured.

    Raises:
        ExecutionError: the disk does not take it.
    """
    joined = {name: np.concatenate([r[name] for r in results], axis=1) for name in (*STATISTICS, "top1")}
    if joined["top1"].shape[1] != len(indices):
        return
    boxes = _boxes(results, measuring, len(joined["top1"]))
    for start in range(0, len(indices), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        arrays: Arrays = {name: array[:, part] for name, array in joined.items()}
        arrays["indices"] = np.array(indices[part], np.int64)
        for model, found in boxes.items():
            arrays |= {f"boxes/{model}/{n}": one for n, one in enumerate(found[part])}
        if boxes:
            arrays["size"] = np.array(_detection(measuring)[1].size)
        journal.record_unit(f"held-out-{start}", LABEL, arrays)


def _boxes(
    results: Sequence[Arrays], measuring: Measuring, models: int
) -> dict[int, list[npt.NDArray[np.float32]]]:
    """By model, for each sample; empty where no detector is measured."""
    if not any(isinstance(measure, Detection) for measure in measuring.measures):
        return {}
    place = _detection(measuring)[0]
    return {i: [sure_boxes(one) for one in records_of(results, place, i)] for i in range(models)}


def _detection(measuring: Measuring) -> tuple[int, Detection]:
    return next((i, one) for i, one in enumerate(measuring.measures) if isinstance(one, Detection))
