"""Compare INT8 models with the float model over samples, and choose between forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec
from distq.graph.heads import with_places
from distq.replica.evaluate import STATISTICS, Evaluate, joined
from distq.replica.lowered import Lowered
from distq.replica.measured import NOTHING, Measuring, records_of
from distq.replica.worker import Arrays, Blob
from distq.run.context import Run
from distq.run.measures import compared_figures
from distq.run.results import Accuracy, Comparison, FloatAccuracy
from distq.search.metrics import (
    ImageStatistics,
    cosine,
    mean_over_images,
    nmse,
    per_image_diff,
    sqnr_db,
    total_power,
)
from distq.stages.form import Form
from distq.stages.steps import Steps

MOST_APART = 128
"""Samples up to which each of several models is run by units of its own, on one of the workers.

To open a network takes as long as some dozens of samples, and a worker has the float outputs of so few.
"""


def compare_models(
    run: Run,
    stage: str,
    models: Sequence[Blob],
    data: DatasetSpec,
    indices: Sequence[int],
    *,
    reference: Blob | None = None,
    again: bool = False,
    measuring: Measuring = NOTHING,
    lowered: Lowered | None = None,
) -> list[Arrays]:
    """Results of the models on samples, one entry a shard.

    Args:
        run: gives workers and samples.
        stage: for the progress bar.
        models: what is compared.
        data: where the samples are.
        indices: of the samples.
        reference: what they are compared with; None: the float model.
        again: the same samples will be compared again.
        measuring: what else is measured.
        lowered: also give this loss.
    """
    against = run.float_model if reference is None else reference
    pieces = run.shards(indices, data)
    apart = again and len(models) > 1 and len(indices) <= MOST_APART
    together = [(model,) for model in models] if apart else [tuple(models)]
    units = [
        Evaluate(of, against, data, piece, number * len(together) + position, again, measuring, lowered)
        for number, piece in enumerate(pieces)
        for position, of in enumerate(together)
    ]
    found = list(run.images(stage, units))
    results = (
        [joined(found[i : i + len(together)]) for i in range(0, len(found), len(together))]
        if apart
        else found
    )
    for result in results:
        run.skip_unreadable(result, data)
    images = sum(map(len, pieces))
    run.cost_so_far.fp32_forwards += images
    run.cost_so_far.int8_forwards += images * len(models)
    return results


def compare_one(
    run: Run, model: Blob, indices: Sequence[int], place: tuple[int, int], measuring: Measuring
) -> Steps[list[Arrays]]:
    """A procedure that compares one of several models, each on workers of its own as far as there are.

    Args:
        run: gives workers and samples.
        model: what is compared with the float model.
        indices: of the samples, which will be compared again.
        place: among how many models it is which.
        measuring: what else is measured.
    """
    position, models = place
    pieces = run.shards(indices)
    results = yield [
        Evaluate(
            (model,),
            run.float_model,
            run.data,
            piece,
            affinity=number * models + position,
            again=True,
            measuring=measuring,
        )
        for number, piece in enumerate(pieces)
    ]
    for result in results:
        run.skip_unreadable(result, run.data)
    images = sum(map(len, pieces))
    run.cost_so_far.fp32_forwards += 0 if position else images  # once for all that are compared
    run.cost_so_far.int8_forwards += images
    return results


def statistics(results: Sequence[Arrays], model: int) -> ImageStatistics:
    """Per-image sums of one model, images in order."""
    return ImageStatistics(*(np.concatenate([r[name][model] for r in results]) for name in STATISTICS))


def tuning_diffs(run: Run, stage: str, forms: Sequence[Form]) -> list[npt.NDArray[np.float64]]:
    """What a choice between forms goes by: each one's diffs on the tuning samples, (images,).

    An image's diff is its contribution to the NMSE, of the parts of the outputs where they are put together;
    or its loss where the run lowers another measure.
    """
    return diffs_of(run, stage, forms, run.selection.tuning)


def diffs_of(
    run: Run, stage: str, forms: Sequence[Form], indices: Sequence[int]
) -> list[npt.NDArray[np.float64]]:
    """The same on other calibration samples."""
    blobs = [run.executor.share(with_places(form.exported, run.places)) for form in forms]
    results = compare_models(
        run,
        stage,
        blobs,
        run.data,
        indices,
        reference=run.float_parts,
        again=True,
        lowered=run.lowered,
    )
    return [image_diffs(results, i) for i in range(len(forms))]


def closest(run: Run, forms: Sequence[Form], stage: str = "compare choices") -> Form:
    """The form that is closest to float on the tuning samples; of equals the first."""
    scores = [mean_over_images(diff) for diff in tuning_diffs(run, stage, forms)]
    return forms[min(range(len(forms)), key=lambda i: (scores[i], i))]


def image_diffs(results: Sequence[Arrays], model: int) -> npt.NDArray[np.float64]:
    """Each image's share of one model's NMSE, (images,), or its loss where the run lowers another measure."""
    if all("loss" in result for result in results):
        loss: npt.NDArray[np.float64] = np.concatenate([r["loss"][model] for r in results]).mean(axis=1)
        return loss
    stats = statistics(results, model)
    return per_image_diff(stats.error, total_power(stats))


Better = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], bool]
"""Whether the first diffs, (images,), are better than the second ones of the same images."""


def choose(
    run: Run, kind: str, diffs: Sequence[npt.NDArray[np.float64]], labels: Sequence[str], better: Better
) -> int:
    """The best on the mean of those that are better than the first; the first where none is.

    Args:
        run: gives workers and samples.
        kind: what is chosen, for the journal.
        diffs: of each choice on the tuning samples, (images,).
        labels: what each is called.
        better: says so of a choice and the first.
    """
    means = [mean_over_images(diff) for diff in diffs]
    for label, mean in zip(labels, means, strict=True):
        run.reporter.line(f"{kind}, {label}: diff {mean:.6g}")
    order = sorted(range(len(diffs)), key=lambda i: (means[i], i))
    best = next((i for i in order if i and better(diffs[i], diffs[0])), 0)
    run.journal.note(kind, chosen=labels[best], names=list(labels), diffs=means)
    run.reporter.line(f"{kind}: {labels[best]}")
    return best


def accuracy(results: Sequence[Arrays], model: int) -> Accuracy:
    """The figures of one model."""
    found = statistics(results, model)
    return Accuracy(
        nmse=nmse(found),
        sqnr_db=sqnr_db(found),
        cosine=cosine(found),
        top1=_rate(results, "top1", model),
        top5=_rate(results, "top5", model),
    )


def comparison(
    results: Sequence[Arrays], before: int, after: int | None, measuring: Measuring = NOTHING
) -> Comparison | None:
    """Figures of the calibrated and the tuned model, by their position among the models compared."""
    images = sum(r["top1"].shape[1] for r in results)
    if not images:
        return None
    return Comparison(
        images=images,
        before=accuracy(results, before),
        after=None if after is None else accuracy(results, after),
        float=top_k_accuracy(results, -1),
        measures=tuple(
            compared_figures(
                measure,
                records_of(results, i, before),
                None if after is None else records_of(results, i, after),
                records_of(results, i, 1 if after is None else 2),
            )
            for i, measure in enumerate(measuring.measures)
        ),
    )


def top_k_accuracy(results: Sequence[Arrays], model: int) -> FloatAccuracy | None:
    """Top-1 and top-5 of one model; None where there are no labels."""
    top1, top5 = _rate(results, "top1", model), _rate(results, "top5", model)
    return None if top1 is None or top5 is None else FloatAccuracy(top1=top1, top5=top5)


def _rate(results: Sequence[Arrays], name: str, model: int) -> float | None:
    hits: npt.NDArray[Any] = np.concatenate([r[name][model] for r in results])
    hits = hits[hits >= 0]
    return float(np.mean(hits)) if hits.size else None
