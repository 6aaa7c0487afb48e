"""What counting a tensor costs, against np.histogram and np.bincount; run it after a change to the counting.

.venv/bin/python scripts/benchmarks/histogram.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from distq.calibration.counter import Counter, Memory

SIZES = (65_536, 400_000, 6_400_000)
REPEATS = 7


def nanoseconds(work: Callable[[], object], elements: int) -> float:
    """Best time of several runs, per element."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best / elements * 1e9


def main() -> None:
    counter = Counter(Memory(1))
    rng = np.random.default_rng(0)
    for size in SIZES:
        signed = rng.standard_normal(size).astype(np.float32)
        for name, values in (("never negative", np.maximum(signed, 0)), ("signed", signed)):
            magnitudes = np.abs(values)
            plain = nanoseconds(lambda m=magnitudes: np.histogram(m, 2048, (0, m.max())), size)
            ours = nanoseconds(lambda v=values: counter.add(v), size)
            print(
                f"{size:>9} values, {name:>14}: np.histogram {plain:5.2f} ns, "
                f"Counter.add {ours:5.2f} ns per element, ratio {ours / plain:.2f}"
            )


if __name__ == "__main__":
    main()
