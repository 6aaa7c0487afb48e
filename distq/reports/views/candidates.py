"""The candidates of one tensor: scores with intervals, verdicts, and the images that decided."""

from __future__ import annotations

import math
from collections.abc import Sequence

from distq.reports.html import NOTHING, number, small_table
from distq.run.results import SearchedLayer
from distq.search.tried import Tried

_HEADS = ("threshold", "samples", "error of outputs", "gain (95 % interval)", "verdict", "deciding samples")


def candidates(tried: Sequence[Tried], found: SearchedLayer) -> str:
    """A table, in the order of the thresholds.

    Args:
        tried: every candidate that was scored.
        found: what the search decided.
    """
    images = max(one.images for one in tried)
    start = (number(found.start), "", number(found.before), "", "start", "")
    rows = [(found.start, start), *((one.threshold, _row(one, found, images)) for one in tried)]
    return small_table(_HEADS, [row for _, row in sorted(rows, key=lambda pair: pair[0])], "candidates")


def _row(one: Tried, found: SearchedLayer, images: int) -> tuple[str, ...]:
    return (
        number(one.threshold),
        str(one.images),
        number(one.diff),
        _gain(one),
        _verdict(one, found, images),
        ", ".join(f"{image} ({100 * part:+.0f} %)" for image, part in one.decisive) or NOTHING,
    )


def _gain(one: Tried) -> str:
    if not math.isfinite(one.gain):
        return NOTHING
    if not math.isfinite(one.low):
        return number(one.gain, 3)
    return f"{number(one.gain, 3)} ({number(one.low, 3)} to {number(one.high, 3)})"


def _verdict(one: Tried, found: SearchedLayer, images: int) -> str:
    if found.accepted and one.threshold == found.threshold:
        return f"taken: {found.reason}"
    refused = next((i for i in found.insignificant if i.threshold == one.threshold), None)
    if refused is not None:
        return f"not significant: {refused.reason}"
    if one.gain <= 0:
        return "no better"
    return "others were better" if one.images == images else f"given up after {one.images} samples"
