"""Samples divided among workers, and their results put back in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST_PORTIONS, TOGETHER = 4, 2
"""Samples are assigned in turn, two at a time, to this many portions or more, as many for each worker.

So the first few are spread over the workers, and a sample always belongs to the same portion. Smaller
portions cost more scheduling than they gain. 1, 2 and 4 workers run the same units, so that a search that is
resumed with another of these numbers finds what is done.
"""


@dataclass(frozen=True)
class Portion:
    """Some of the samples.

    Attributes:
        number: which portion; units of it have this affinity.
        indices: the samples.
        positions: where these stand among all that were divided.
    """

    number: int
    indices: tuple[int, ...]
    positions: tuple[int, ...]


def portions_for(workers: int) -> int:
    """How many portions: as many for each of the workers, and the same number for 1, 2 and 4 of them."""
    return workers * -(-LEAST_PORTIONS // workers)


def portions(indices: Sequence[int], start: int, end: int, workers: int) -> list[Portion]:
    """Samples from position ``start`` to ``end``, divided."""
    count = portions_for(workers)
    divided: dict[int, list[int]] = {}
    for position in range(start, min(end, len(indices))):
        divided.setdefault(position // TOGETHER % count, []).append(position)
    return [
        Portion(number, tuple(indices[p] for p in positions), tuple(p - start for p in positions))
        for number, positions in divided.items()
    ]


def in_order(arrays: Sequence[Floats], parts: Sequence[Portion], axis: int) -> Floats:
    """Arrays of each portion, with its samples along an axis, as one with all samples in their order."""
    order = np.argsort([position for part in parts for position in part.positions])
    return np.take(np.concatenate(arrays, axis), order, axis)
