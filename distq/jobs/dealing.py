"""Images dealt out to workers, and their results put back in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TURNS, TOGETHER = 4, 2
"""Images are dealt out like cards, two at a time, in this many turns or more, as many for each worker.

The first few are spread over the workers, and an image always goes to the same turn. Smaller hands cost more
to send than they gain; with these, 1, 2 and 4 workers run the same units, so that a search that goes on with
another of these numbers finds what is done.
"""


@dataclass(frozen=True)
class Hand:
    """The images of one turn: which turn it is, which samples, and where these stand among all dealt."""

    turn: int
    indices: tuple[int, ...]
    positions: tuple[int, ...]


def turns_of(workers: int) -> int:
    """As many turns for each of the workers, and the same number for 1, 2 and 4 of them."""
    return workers * -(-TURNS // workers)


def turns(indices: Sequence[int], start: int, end: int, workers: int) -> list[Hand]:
    """Samples from ``start`` to ``end`` dealt out, a hand each turn; its turn is its affinity."""
    number = turns_of(workers)
    dealt: dict[int, list[int]] = {}
    for position in range(start, min(end, len(indices))):
        dealt.setdefault(position // TOGETHER % number, []).append(position)
    return [
        Hand(turn, tuple(indices[p] for p in positions), tuple(p - start for p in positions))
        for turn, positions in dealt.items()
    ]


def in_order(arrays: Sequence[Floats], hands: Sequence[Hand], axis: int) -> Floats:
    """Arrays of each hand, with its images along an axis, as one with all images in their order."""
    order = np.argsort([position for hand in hands for position in hand.positions])
    return np.take(np.concatenate(arrays, axis), order, axis)
