"""Which samples do what: calibrate, tune, stay held out; and in which pieces they travel."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distq.errors import DataError

DEFAULT_HOLDOUT = 500
"""Most samples that are held out when no number is asked for."""


MOST_SHARDS = 1024
"""Most pieces that samples are cut into."""


@dataclass(frozen=True)
class Selection:
    """Sample indices by role; ``tuning`` is the beginning of ``calibration``.

    ``holdout`` counts in the second data set where there is one. Indices are ranges, or arrays of 8 bytes
    each where samples were shuffled.
    """

    calibration: Sequence[int]
    tuning: Sequence[int]
    holdout: Sequence[int]


def select(  # noqa: PLR0917  # seven facts, in the order a person thinks of them
    count: int,
    samples: int,
    tune_samples: int,
    holdout: int | None,
    shuffle: bool,
    seed: int,
    separate_holdout_count: int | None = None,
) -> Selection:
    """Give the samples their roles, in the source's order or a permutation fixed by the seed.

    Args:
        count: How many samples there are.
        samples: The first so many calibrate; 0 is all.
        tune_samples: The first so many of those are what a search scores on.
        holdout: The next so many are held out; None is all that remain, at most 500.
        shuffle: Permute first.
        seed: Fixes the permutation.
        separate_holdout_count: Size of a second data set the held-out samples come from instead.

    Raises:
        DataError: there are fewer samples than asked for, or none.
    """
    if count < 1:
        raise DataError("the data is empty: give at least one sample")
    calibrating = samples or count
    if calibrating > count:
        raise DataError(
            f"{calibrating} samples asked for, the data has {count}: give --samples {count} or more data"
        )
    if tune_samples > calibrating:
        raise DataError(
            f"{tune_samples} tuning samples asked for of {calibrating}: give --tune-samples {calibrating}"
        )
    order = _order(count, shuffle, seed)
    calibration = order[:calibrating]
    rest = order[calibrating:]
    if separate_holdout_count is not None:
        if separate_holdout_count < 1:
            raise DataError(
                "the held-out data is empty: give at least one sample, or leave --holdout-data out"
            )
        rest = _order(separate_holdout_count, shuffle, seed)
    if holdout is not None and holdout > len(rest):
        raise DataError(
            f"{holdout} held-out samples asked for, {len(rest)} left: give --holdout {len(rest)} or more data"
        )
    held_out = DEFAULT_HOLDOUT if holdout is None else holdout
    return Selection(calibration, calibration[:tune_samples], rest[:held_out])


def permutation(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation of 0..count-1 fixed by the seed.

    It sorts the raw 64-bit output of PCG64, whose stream numpy keeps the same in every version.
    """
    keys = np.random.PCG64(seed % (1 << 64)).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


def shard(indices: Sequence[int], size: int, multiple: int = 1) -> list[Sequence[int]]:
    """Cut indices, in their order, into even pieces of at most ``size``; of a range they are ranges.

    Pieces of many indices are larger, so that there are at most 1024: more would keep no worker busier, and
    each has a result to store, to send and to add.

    Args:
        indices: of samples.
        size: most of them in a piece.
        multiple: the number of pieces is one of this, where there are enough indices and more than one piece.
            So many workers then have as many each: of three pieces one of two would wait through the last.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"a shard holds at least one sample, not {size}")
    count = len(indices)
    pieces = -(-count // size)
    if pieces > 1:
        pieces = -(-pieces // multiple) * multiple
    pieces = min(pieces, count, MOST_SHARDS)
    bounds = [count * piece // pieces for piece in range(pieces + 1)] if pieces else []
    return [indices[start:end] for start, end in pairwise(bounds)]


def deal(indices: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    """Indices assigned to parts in turn, none of the parts empty: the first few are spread over all parts."""
    return [tuple(indices[first::parts]) for first in range(min(parts, len(indices)))]


def _order(count: int, shuffle: bool, seed: int) -> Sequence[int]:
    return array("q", permutation(count, seed).tobytes()) if shuffle else range(count)
