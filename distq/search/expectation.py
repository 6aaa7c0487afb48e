"""What a network loses of a figure, expected by how far its outputs are from float's.

Lines read as float reads them, boxes shared and right answers change where noise is larger than what a
decision had to spare. As many decisions have little to spare as that little is wide: so what is lost grows
with the noise, which is the square root of the error. How fast, the networks measured say together; that is
more certain than what one of them loses, which on few samples is luck for a good part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH = math.log(2.5)
"""Standard deviation, in the logarithm of the error, with which a network tells of others: 4 dB."""

STEP, REACH = 0.025, 6.0
"""Of the search for the error that is allowed, in decades, and how far below the least error it begins."""


@dataclass(frozen=True)
class Expectation:
    """Networks that were measured, on all samples.

    Attributes:
        errors: of the outputs, as the square of noise; above 0.
        losses: what each loses of the figure; below 0 where it gains.
    """

    errors: Sequence[float]
    losses: Sequence[float]

    def loss(self, error: float) -> float:
        """What a network with this error loses, as those with about as much error do; NaN where none is."""
        if not self.errors or not error > 0:
            return math.nan if not self.errors else 0.0
        errors = np.array(self.errors)
        away = (np.log(errors / error) / WIDTH) ** 2 / 2
        weights = np.exp(away.min() - away)
        rate = math.fsum(weights * np.array(self.losses)) / math.fsum(weights * np.sqrt(errors))
        return rate * math.sqrt(error)

    def allowed(self, limit: float) -> float | None:
        """The largest error with which no more than this is lost; None where that is not known."""
        if not self.errors or limit <= 0:
            return None
        least, most = math.log10(min(self.errors)) - REACH, math.log10(max(self.errors))
        allowed = None
        for decades in np.arange(least, most + STEP, STEP):
            if self.loss(10.0**decades) > limit:
                break
            allowed = float(10.0**decades)
        return allowed
