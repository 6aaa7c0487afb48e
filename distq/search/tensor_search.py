"""The search of one tensor's threshold: asks for candidates, is told their scores, decides."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.errors import ExecutionError, InputError
from distq.search.log import LogEntry
from distq.search.metrics import mean_over_images
from distq.search.tried import Tried, tried

Scores = Mapping[float, npt.NDArray[np.float64]]
"""Threshold to its diff per image, shape (images,), lower is better."""

Rule = Generator[tuple[float, ...], None, "Decision"]
"""A strategy's rule: yields the thresholds it waits for, returns what it decided."""


@dataclass(frozen=True)
class Insignificant:
    """A candidate that was better on the mean, but may have been so by chance.

    Attributes:
        threshold: the candidate.
        gain: mean diff of the start less its own.
        t: the paired statistic, negative; infinite where all images differ alike.
        reason: why that is not enough.
    """

    threshold: float
    gain: float
    t: float
    reason: str


@dataclass(frozen=True)
class Decision:
    """What a search decided for one tensor.

    Attributes:
        threshold: what the tensor gets.
        before: mean diff of the starting threshold.
        after: mean diff of ``threshold``.
        scored: candidates scored as the strategy's serial rule counts them.
        accepted: whether a candidate replaced the starting threshold.
        reason: why, in a few words.
        dropped: of these, given up before they were scored on all images.
        insignificant: candidates better on the mean, but not significantly; the best first.
        tried: every candidate that was scored beside the start.
    """

    threshold: float
    before: float
    after: float
    scored: int
    accepted: bool
    reason: str
    dropped: int = 0
    insignificant: tuple[Insignificant, ...] = ()
    tried: tuple[Tried, ...] = field(default=(), compare=False)


class TensorSearch(ABC):
    """Decides one tensor's threshold; a subclass writes its rule as a serial loop in :meth:`rule`.

    What is decided depends only on the scores, never on how they were batched or in which order they came,
    so a search can be replayed from a log without a network.

    Raises:
        InputError: the starting threshold is not a positive number, or ``absmax`` is not a number from 0 on.
    """

    def __init__(self, threshold: float, absmax: float) -> None:
        if not (math.isfinite(threshold) and threshold > 0):
            raise InputError(f"cannot search from threshold {threshold}: give one that is finite and above 0")
        if not (math.isfinite(absmax) and absmax >= 0):
            raise InputError(f"cannot search up to absmax {absmax}: calibrate on finite data first")
        self.threshold = float(threshold)
        self.absmax = float(absmax)
        self._scores: dict[float, npt.NDArray[np.float64]] = {}
        self._log: list[LogEntry] = [LogEntry("original", self.threshold)]
        self._waiting: tuple[float, ...] = ()
        self._wanted_images: int | None = None
        self._decision: Decision | None = None
        self._rule = self.rule()
        self._advance()

    @abstractmethod
    def rule(self) -> Rule:
        """The serial loop: measure candidates with ``diff = yield from self.measure(...)``, then decide."""

    def ask(self) -> tuple[float, ...]:
        """Thresholds that can be scored now: all those not told yet; empty when decided."""
        return self._waiting

    @property
    def wanted_images(self) -> int | None:
        """How many images, from the first on, the thresholds asked for are to be scored on; None: all."""
        return self._wanted_images

    def tell(self, scores: Scores) -> None:
        """Give scores, in any order and any batches; one told early is kept until the rule needs it.

        Told again, a threshold keeps its scores, since a work unit may run twice, unless there are more.

        Raises:
            ExecutionError: scores that are not one number per image, or of too few images; or, where all
                images are asked for, not of as many as the others.
        """
        for threshold, values in scores.items():
            array = np.array(values, np.float64)
            known = next(iter(self._scores.values()), array).size
            least = max(1, self._wanted_images or known)
            if array.ndim != 1 or array.size < least or (self._wanted_images is None and array.size > least):
                raise ExecutionError(
                    f"scores of threshold {threshold} have shape {array.shape}: "
                    f"score the images asked for, here ({least},)"
                )
            if threshold not in self._scores or array.size > self._scores[threshold].size:
                self._scores[threshold] = array
        self._advance()

    def decision(self) -> Decision:
        """What was decided.

        Raises:
            ExecutionError: scores are still missing.
        """
        if self._decision is None:
            raise ExecutionError(f"threshold {self.threshold} is not decided: score {self._waiting} first")
        return self._decision

    def log(self) -> list[LogEntry]:
        """What happened so far, in the order of the serial rule."""
        return list(self._log)

    def measure(
        self, number: int, threshold: float, certain: Iterable[float] = (), images: int | None = None
    ) -> Generator[tuple[float, ...], Any, float]:
        """Wait for one candidate and return its mean diff; ``inf`` when an image has none that is finite.

        Args:
            number: which candidate it is, for the log.
            threshold: the candidate.
            certain: candidates that the rule will measure later whatever this one scores; asked for along
                with it.
            images: how many images, from the first on, it is measured on; None: all.
        """
        self._log.append(LogEntry("start", threshold, number=number))
        together = dict.fromkeys((threshold, *certain))
        self._wanted_images = images
        while not self._has(threshold, images):
            yield tuple(candidate for candidate in together if not self._has(candidate, images))
        diff = mean_over_images(self._scores[threshold][:images])
        self._log.append(LogEntry("end", threshold, diff, number))
        return diff

    def _has(self, threshold: float, images: int | None) -> bool:
        return threshold in self._scores and self._scores[threshold].size >= (images or 1)

    def scores_of(self, threshold: float) -> npt.NDArray[np.float64]:
        """Diff per image, shape (images,), of a measured candidate."""
        return self._scores[threshold]

    def original_diff(self, decision: Decision) -> float:
        """The diff that the log's last line compares with."""
        return decision.before

    def _advance(self) -> None:
        if self._decision is not None:
            return
        try:
            self._waiting = next(self._rule)
        except StopIteration as end:
            decision: Decision = end.value
            scored = self.threshold in self._scores
            start = self.threshold if scored else min(self.threshold, self.absmax)
            decision = replace(decision, tried=tried(start, self._scores))
            self._decision, self._waiting = decision, ()
            self._log.append(
                LogEntry(
                    "done",
                    decision.threshold,
                    decision.after,
                    original_threshold=self.threshold,
                    original_diff=self.original_diff(decision),
                )
            )
