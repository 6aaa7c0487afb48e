"""MAX: nothing is clipped (REFERENCE.md 2.7)."""

from __future__ import annotations

from distq.calibration.histogram import Distribution


def maximum(distribution: Distribution, bins: int, levels: int | None) -> float:  # noqa: ARG001  # a Method
    """T = max |x|, exact."""
    return distribution.absmax
