"""How far a figure of some samples is from that of others like these, where it is no mean over samples.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 11: the jackknife, here
with groups of samples left out, so that a figure that takes long is computed few times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

GROUPS = 12
"""Of samples at most, each of which is left out once."""


def standard_error(figure: Callable[[Sequence[int]], float], samples: int) -> float:
    """The standard error of a figure.

    Args:
        figure: of some of the samples, by position.
        samples: how many there are.

    Returns:
        NaN with fewer than two samples, or where the figure is NaN without some of them.
    """
    groups = min(GROUPS, samples)
    if groups < 2:
        return math.nan
    found = np.array([figure([i for i in range(samples) if i % groups != left]) for left in range(groups)])
    return math.sqrt((groups - 1) / groups * float(np.sum((found - found.mean()) ** 2)))
