"""The log of one tensor's search, in the wording of the Bitmain tuner (REFERENCE.md 0 and 1.1)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

UNMEASURED = sys.float_info.max
"""The diff before anything is scored: the largest double."""


@dataclass(frozen=True)
class LogEntry:
    """One event of a search.

    Attributes:
        event: ``original`` opens the search, ``start`` and ``end`` surround a candidate, ``done`` closes it.
        threshold: the candidate; the starting threshold in ``original``, the decided one in ``done``.
        diff: mean diff of ``threshold``; unmeasured in ``original`` and ``start``.
        number: which candidate, from 1 (in each sweep, where a strategy has sweeps).
        original_threshold: what the search started from; used by ``done``.
        original_diff: the diff that ``done`` compares with.
    """

    event: Literal["original", "start", "end", "done"]
    threshold: float
    diff: float = UNMEASURED
    number: int = 0
    original_threshold: float = 0.0
    original_diff: float = UNMEASURED

    def line(self, layer: str) -> str:
        """The event as a log line of ``layer`` (wording: REFERENCE.md 1.1, "Log lines, exact")."""
        threshold, diff = number_text(self.threshold), number_text(self.diff)
        match self.event:
            case "original":
                return f"ori_thres={threshold}, ori_diff={diff}"
            case "start":
                return f"start tuning: {self.number}, layer: {layer}, tuning threshold: {threshold}"
            case "end":
                return f"end tuning: {self.number}, layer: {layer}, tuning diff: {diff}"
            case "done":
                diffs = f"{diff}/{number_text(self.original_diff)}"
                thresholds = f"{threshold}/{number_text(self.original_threshold)}"
                return f"tuning end, layer: {layer},  best diff with tune: {diffs}, threshold: {thresholds}"


def number_text(value: float) -> str:
    """``value`` as Python 2 printed it: 12 significant digits, ``.0`` after a whole number."""
    text = f"{value:.12g}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text
