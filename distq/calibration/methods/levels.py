"""How many levels a quantizer has for magnitudes."""

from __future__ import annotations

from distq.calibration.histogram import Distribution


def magnitude_levels(distribution: Distribution, levels: int | None) -> int:
    """``levels`` where given, else the 256 of uint8 where never negative, or int8's 128 of one sign."""
    if levels is not None:
        return levels
    return 256 if distribution.is_non_negative else 128
