"""The held-out samples one by one, from the journal, and how far the figures would scatter with others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.engine.journal_read import unit_arrays
from distq.replica.evaluate import STATISTICS
from distq.replica.worker import Arrays
from distq.reports.facts import HeldOut, Interval
from distq.run.results import Comparison
from distq.search.metrics import ImageStatistics, decibels, nmse

_RESAMPLED = 1000
_LABEL = re.compile(r"evaluate, samples (\d+)-(\d+)")


def held_out(
    records: Iterable[dict[str, Any]], reported: Comparison | None, *, shuffled: bool
) -> HeldOut | None:
    """The samples of a run's report on held-out samples, if its journal has them.

    They are the last that a run evaluates. They are taken only where they give the numbers of the report.

    Args:
        records: of the journal.
        reported: what ``metrics.json`` says of them.
        shuffled: they are in no ascending order, so the journal does not tell which is which.
    """
    if reported is None:
        return None
    names = ("before",) if reported.after is None else ("before", "after")
    parts: list[Arrays] = []
    samples: list[Sequence[int]] = []
    images = 0
    for first, last, arrays in reversed(list(_evaluated(records))):
        if images >= reported.images or any(name not in arrays for name in (*STATISTICS, "top1")):
            break
        size = arrays["error"].shape[1]
        samples.append(range(first, last + 1) if last - first + 1 == size else ())
        parts.append(arrays)
        images += size
    if images != reported.images or any(len(part["error"]) != len(names) for part in parts):
        return None
    order = sorted(range(len(parts)), key=lambda i: samples[i][0] if samples[i] else -i)
    joined = {
        name: ImageStatistics(*(np.concatenate([parts[i][s][m] for i in order]) for s in STATISTICS))
        for m, name in enumerate(names)
    }
    expected = {"before": reported.before, "after": reported.after}
    if any(_differs(nmse(joined[name]), expected[name]) for name in names):
        return None
    draws = _draws(images)
    drawn = {
        name: _resampled(statistics, draws)
        for name, statistics in joined.items()
        if len(statistics.error) > 1 and np.isfinite(statistics.error).all()
    }
    known = [index for i in order for index in samples[i]]
    return HeldOut(
        statistics=joined,
        sqnr_db={name: _interval([decibels(value) for value in values]) for name, values in drawn.items()},
        gain_db=_gain(drawn),
        samples=tuple(known) if len(known) == images and not shuffled else None,
        top1={
            name: np.concatenate([parts[i]["top1"][m] for i in order])
            for m, name in enumerate((*names, "float"))
        },
    )


def _evaluated(records: Iterable[dict[str, Any]]) -> Iterator[tuple[int, int, Arrays]]:
    """First and last sample and result of the units that evaluated whole models."""
    for record in records:
        found = _LABEL.fullmatch(str(record.get("label")))
        arrays = unit_arrays(record) if found else None
        if found and arrays is not None:
            yield int(found[1]), int(found[2]), arrays


def _differs(found: float, reported: object) -> bool:
    value = getattr(reported, "nmse", None)
    return not isinstance(value, float) or not (found == value or math.isclose(found, value, rel_tol=1e-9))


def _draws(images: int) -> npt.NDArray[np.int64]:
    """How often each sample is in each of the samples drawn anew, (draws, images)."""
    drawn = np.random.default_rng(0).integers(0, images, (_RESAMPLED, images))
    return np.stack([np.bincount(row, minlength=images) for row in drawn])


def _resampled(statistics: ImageStatistics, draws: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """NMSE of each draw (bootstrap: B. Efron, Bootstrap Methods, Annals of Statistics 7, 1979)."""
    error, power = draws @ statistics.error, draws @ statistics.power
    images = len(statistics.error)
    shares: npt.NDArray[np.float64] = np.mean(error / np.where(power > 0, power, images), axis=1)
    return shares


def _gain(drawn: Mapping[str, npt.NDArray[np.float64]]) -> Interval | None:
    """Of the same draws for both models, as the samples are the same."""
    if not {"before", "after"} <= drawn.keys():
        return None
    pairs = zip(drawn["after"], drawn["before"], strict=True)
    gains = [decibels(after) - decibels(before) for after, before in pairs if after > 0 and before > 0]
    return _interval(gains) if gains else None


def _interval(values: Sequence[float]) -> Interval:
    ordered = sorted(values)  # infinite ones too, which no quantile may be made between
    cut = round(0.025 * (len(ordered) - 1))
    return Interval(ordered[cut], ordered[-1 - cut])
