"""The held-out samples one by one, from the journal, and how far the figures would scatter with others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.engine.journal_read import unit_arrays
from distq.replica.evaluate import STATISTICS
from distq.replica.worker import Arrays
from distq.reports.facts import Detections, HeldOut, Interval
from distq.run.held_out import LABEL
from distq.run.results import Comparison
from distq.search.metrics import ImageStatistics, decibels, nmse

_RESAMPLED = 1000
_EVALUATED = re.compile(r"evaluate, samples (\d+)-(\d+)")


@dataclass(frozen=True)
class _Part:
    """Some of the samples, and what the models did on them; ``samples`` is empty where it is not known."""

    samples: tuple[int, ...]
    arrays: Arrays


def held_out(
    records: Sequence[dict[str, Any]], reported: Comparison | None, *, shuffled: bool
) -> HeldOut | None:
    """The samples of a run's report on held-out samples, if its journal has them.

    They are taken only where they give the numbers of the report.

    Args:
        records: of the journal.
        reported: what ``metrics.json`` says of them.
        shuffled: the samples are in no ascending order.
    """
    if reported is None:
        return None
    parts = _kept(records) or _evaluated(records, reported.images, shuffled=shuffled)
    names = ("before",) if reported.after is None else ("before", "after")
    images = sum(part.arrays["error"].shape[1] for part in parts)
    if images != reported.images or any(len(part.arrays["error"]) != len(names) for part in parts):
        return None
    joined = {
        name: ImageStatistics(*(np.concatenate([part.arrays[s][m] for part in parts]) for s in STATISTICS))
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
    known = [index for part in parts for index in part.samples]
    return HeldOut(
        statistics=joined,
        sqnr_db={name: _interval([decibels(value) for value in values]) for name, values in drawn.items()},
        gain_db=_gain(drawn),
        samples=tuple(known) if len(known) == images else None,
        top1={
            name: np.concatenate([part.arrays["top1"][m] for part in parts])
            for m, name in enumerate((*names, "float"))
        },
        boxes=_boxes(parts, (*names, "float")),
    )


def _kept(records: Iterable[dict[str, Any]]) -> list[_Part]:
    """What a run wrote down for the page; runs of earlier versions did not."""
    found = {}
    for record in records:
        arrays = unit_arrays(record) if record.get("label") == LABEL else None
        if arrays is not None:
            found[str(record.get("key"))] = _Part(tuple(arrays["indices"].tolist()), arrays)
    return list(found.values())


def _evaluated(records: Sequence[dict[str, Any]], images: int, *, shuffled: bool) -> list[_Part]:
    """The last units that evaluated whole models, by their samples, as many as have so many images."""
    parts: list[_Part] = []
    for record in reversed(records):
        found = _EVALUATED.fullmatch(str(record.get("label")))
        arrays = unit_arrays(record) if found else None
        if found is None or arrays is None:
            continue
        if images <= 0 or any(name not in arrays for name in (*STATISTICS, "top1")):
            break
        size = arrays["error"].shape[1]
        first, last = int(found[1]), int(found[2])
        known = last - first + 1 == size and not shuffled
        parts.append(_Part(tuple(range(first, last + 1)) if known else (), arrays))
        images -= size
    parts.reverse()  # as they were, where the samples are not known
    return sorted(parts, key=lambda part: part.samples[:1])


def _boxes(parts: Sequence[_Part], names: Sequence[str]) -> Mapping[str, tuple[Detections, ...]]:
    """What each model is sure of in each sample, with corners as fractions of the input."""
    if not all("size" in part.arrays for part in parts):
        return {}
    found: dict[str, tuple[Detections, ...]] = {}
    for model, name in enumerate(names):
        of_model = []
        for part in parts:
            height, width = part.arrays["size"]
            scale = np.array([width, height, width, height, 1, 1])
            count = part.arrays["error"].shape[1]
            of_model += [part.arrays[f"boxes/{model}/{n}"] / scale for n in range(count)]
        found[name] = tuple(of_model)
    return found


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
