"""What was counted of many tensors in a few arrays: how distributions travel from a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.calibration.buckets import BUCKETS
from distq.calibration.counter import Counter
from distq.calibration.histogram import Distribution
from distq.calibration.tail import NO_TAIL


def pack(counters: Sequence[Counter]) -> dict[str, npt.NDArray[Any]]:
    """A row for each tensor, in order.

    Returns:
        ``totals``, int64 (tensors, 10): count, sampled, zeros, nonfinite, top, start of the tail, for how
        many values a count stands, and how much of what follows is the tensor's: rows of counts, bytes of a
        count, values of the tail. ``ranges``, float64 (tensors, 2). ``counts``: bytes of unsigned integers;
        the first one is 0, and meant to be what is left of count. ``tails``: float32.
    """
    totals, ranges = [], []
    counts, tails = [np.zeros(0, np.uint8)], [NO_TAIL]
    for counter in counters:
        table, weight, tail, start = counter.finish()
        rows = table[: 2 if counter.min < 0 else 1]
        rows[0, 0] = 0  # zeros are many, and would make all counts of a tensor wider
        rows = rows.astype(np.min_scalar_type(int(rows.max())))
        totals.append(
            (
                counter.count,
                counter.sampled,
                counter.zeros,
                counter.nonfinite,
                counter.top,
                start,
                weight,
                len(rows),
                rows.itemsize,
                tail.size,
            )
        )
        ranges.append((counter.min, counter.max))
        counts.append(rows.reshape(-1).view(np.uint8))
        tails.append(tail)
    return {
        "totals": np.array(totals, np.int64).reshape(-1, 10),
        "ranges": np.array(ranges, np.float64).reshape(-1, 2),
        "counts": np.concatenate(counts),
        "tails": np.concatenate(tails),
    }


def unpack(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[Distribution]:
    """The distributions that ``pack`` packed, one at a time."""
    counts, tails = arrays["counts"], arrays["tails"]
    for row, (low, high) in zip(arrays["totals"].tolist(), arrays["ranges"].tolist(), strict=True):
        count, sampled, zeros, nonfinite, top, start, weight, signs, width, tail = row
        size = signs * BUCKETS * width
        own = counts[:size].view(f"u{width}").reshape(signs, BUCKETS).astype(np.int64) * weight
        own[0, 0] = count - own.sum()
        negative = own[1] if signs > 1 else own[0, :0]
        yield Distribution(
            count, zeros, nonfinite, low, high, top, own[0], negative, tails[:tail], start, sampled
        )
        counts, tails = counts[size:], tails[tail:]
