"""What each candidate of a tensor scored beside the start, and which images made the difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distq.search.acceptance import paired_standard_error, student_quantile
from distq.search.metrics import mean_over_images

DECISIVE = 3
"""Images that are named of a candidate."""

_TAIL = 0.975
"""Of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Tried:
    """A candidate.

    Attributes:
        threshold: the candidate.
        images: how many it was scored on, from the first on.
        diff: its mean over these.
        gain: mean diff of the start on the same images less its own.
        low, high: 95 % interval of the gain, by Student's t over the images; infinite with fewer than two.
        decisive: images by their place among those scored on, with their part of all that the images
            differ by: above 0 where the candidate is better. The largest parts first.
    """

    threshold: float
    images: int
    diff: float
    gain: float
    low: float
    high: float
    decisive: tuple[tuple[int, float], ...] = ()


def tried(start: float, scores: Mapping[float, npt.NDArray[np.float64]]) -> tuple[Tried, ...]:
    """Every candidate that was scored, by its threshold; none where the start was not.

    Args:
        start: the threshold that they are compared with.
        scores: diff of each image, (images,), of start and candidates; of fewer images the first ones.
    """
    own = scores.get(start)
    if own is None:
        return ()
    found = ((one, scores[one], own[: scores[one].size]) for one in sorted(scores) if one != start)
    return tuple(_tried(one, diff, beside) for one, diff, beside in found if diff.size == beside.size)


def _tried(threshold: float, diff: npt.NDArray[np.float64], start: npt.NDArray[np.float64]) -> Tried:
    images = len(diff)
    if not (np.isfinite(diff).all() and np.isfinite(start).all()):
        return Tried(threshold, images, mean_over_images(diff), -math.inf, -math.inf, math.inf)
    differences = start - diff
    gain = math.fsum(differences) / images
    room = math.inf
    if images > 1:
        error = paired_standard_error(start, diff)
        room = student_quantile(_TAIL, images - 1) * error if error else 0.0
    whole = math.fsum(np.abs(differences))
    largest = np.argsort(-np.abs(differences), kind="stable")[:DECISIVE].tolist()
    parts = [(i, float(differences[i]) / whole) for i in largest if differences[i]]
    return Tried(threshold, images, math.fsum(diff) / images, gain, gain - room, gain + room, tuple(parts))
