"""Strategies by name: how a threshold is searched.

A new strategy is one file, with a :class:`TensorSearch` and a :class:`Strategy`, and one line in
``STRATEGIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from distq.search.bitmain import BitmainStrategy
from distq.search.default import EFFORTS, DefaultStrategy
from distq.search.grid import POINTS, GridStrategy
from distq.search.log import LogEntry
from distq.search.tensor_search import Decision, Scores, TensorSearch
from distq.search.tpu_mlir import TpuMlirStrategy

__all__ = ["STRATEGIES", "Decision", "LogEntry", "Scores", "Strategy", "TensorSearch"]


class Strategy(Protocol):
    """Starts the search of one tensor after another."""

    @property
    def name(self) -> str:
        """What ``--strategy`` calls it."""

    def search(self, threshold: float, absmax: float, images: int | None = None) -> TensorSearch:
        """Begin to search one tensor.

        Args:
            threshold: where the search starts.
            absmax: the largest absolute value observed in the tensor.
            images: how many there are to score on; None: whatever is told.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """


STRATEGIES: Mapping[str, Callable[[int], Strategy]] = {
    "default": lambda effort: DefaultStrategy(EFFORTS[effort]),
    "grid": lambda effort: GridStrategy(POINTS[effort]),
    "bitmain": lambda _: BitmainStrategy(),
    "tpu-mlir": lambda _: TpuMlirStrategy(),
}
"""By the name that ``--strategy`` takes: a strategy for an ``--effort``."""
