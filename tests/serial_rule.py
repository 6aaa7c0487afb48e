"""The serial tuner's rule (REFERENCE.md 1.1) once more, as the loop a single process would run."""

import sys
from collections.abc import Callable


def serial_rule(threshold: float, score: Callable[[float], float]) -> tuple[float, float, int]:
    """The best threshold, its score, and how many were scored."""
    best, best_diff = threshold, sys.float_info.max
    scored = 0
    for factor in (1.01, 0.99):
        fail, k, before = 0, 0, sys.float_info.max
        while fail != 3:
            candidate = threshold * factor**k
            diff = score(candidate)
            scored += 1
            if diff < best_diff:
                best, best_diff, fail = candidate, diff, 0
            elif diff >= before:
                fail += 1
            before = diff
            k += 1
    return best, best_diff, scored
