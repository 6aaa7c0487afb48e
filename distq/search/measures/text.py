"""Text of a recognizer that was trained with CTC: how many lines read as the float network reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from distq.errors import ModelError, UsageError
from distq.search.measures.cells import divergence
from distq.search.measures.heads import is_distribution
from distq.search.measures.measure import Facts, Figures, Measure, Outputs, Record

FloatArray = npt.NDArray[np.float64]

BLANKS = ("first", "last")
"""Which class may be the blank: 0 in PyTorch, Paddle and Kaldi, the last one in TensorFlow and Keras."""


@dataclass(frozen=True)
class Text(Measure):
    """Lines equal to the float network's, by best path decoding of the first output.

    Attributes:
        blank: the class that stands for no character, one of ``BLANKS``.
    """

    blank: str
    name: str = "text"
    needs_float: ClassVar[bool] = True
    own: ClassVar[float | None] = 1.0
    names: ClassVar[tuple[str, ...]] = ("lines", "character_error")
    errors: ClassVar[frozenset[str]] = frozenset({"character_error"})

    def score(self, outputs: Outputs, sample: Facts) -> Record:
        """1 for an equal line, characters to insert, delete or replace, and float's characters."""
        found, wanted = self._steps(outputs), self._wanted(sample)
        line, truth = best_path(found, self.blank), best_path(wanted, self.blank)
        return np.array([line == truth, edits(line, truth), len(truth)], np.float64)

    def finish(self, records: Sequence[Record]) -> Figures:
        """The share of equal lines, and the character error rate: edits over float's characters."""
        if not records:
            return {"lines": math.nan}
        equal, edited, characters = np.sum(records, axis=0)
        error = float(edited / characters) if characters else math.nan
        return {"lines": float(equal / len(records)), "character_error": error}

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """Divergence of the classes' probabilities, averaged over the steps; 1 where they are not finite."""
        found, wanted = (probabilities(steps) for steps in (self._steps(outputs), self._wanted(sample)))
        if not np.isfinite(found).all():
            return 1.0
        return math.fsum(divergence(found, wanted)) / len(wanted)

    def _steps(self, outputs: Outputs) -> FloatArray:
        steps = steps_of(next(iter(outputs.values())))
        if steps is None:
            raise ModelError("the first output is no longer steps of classes, as text needs it")
        return steps

    def _wanted(self, sample: Facts) -> FloatArray:
        if sample.float_outputs is None:
            raise ModelError("text is compared with that of the float network: give it")
        return self._steps(sample.float_outputs)


def recognise_text(outputs: Sequence[npt.NDArray[Any]], asked: str) -> Text:
    """The measure of a recognizer, the blank being the class that more steps of a sample fall to.

    Args:
        outputs: of the network on one sample.
        asked: which class is the blank, if the user says so: one of ``BLANKS``.

    Raises:
        UsageError: the first output is not that of such a recognizer, or there is no such blank.
    """
    if asked and asked not in BLANKS:
        raise UsageError(f"--measure text:{asked}: the blank is the {' or the '.join(BLANKS)} class")
    steps = steps_of(outputs[0])
    if steps is None:
        shape = "x".join(map(str, outputs[0].shape))
        raise UsageError(
            f"--measure text: the first output is {shape}, where text needs steps of classes, 1 x steps x "
            "classes or steps x 1 x classes: give a Python file"
        )
    chosen = steps.argmax(axis=1)
    last = int((chosen == steps.shape[1] - 1).sum()) > int((chosen == 0).sum())
    return Text(asked or BLANKS[last])


def steps_of(output: npt.NDArray[Any]) -> FloatArray | None:
    """Scores by step and class, (steps, classes); None where the output is not of one line."""
    if output.ndim != 3 or 1 not in output.shape[:2] or output.shape[2] < 2 or not output.size:
        return None
    return output.reshape(-1, output.shape[2]).astype(np.float64)


def probabilities(steps: FloatArray) -> FloatArray:
    """Rows as they are where they sum to 1, else their softmax."""
    if is_distribution(steps):
        return np.maximum(steps, 0)
    powers = np.exp(steps - steps.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_path(steps: FloatArray, blank: str) -> list[int]:
    """Classes of the characters: the best of each step, repetitions once, without blanks.

    Source: A. Graves et al., Connectionist temporal classification, ICML 2006, best path decoding.
    """
    none = 0 if blank == "first" else steps.shape[1] - 1
    return [int(best) for best, _ in groupby(steps.argmax(axis=1)) if best != none]


def edits(line: Sequence[int], truth: Sequence[int]) -> int:
    """Characters to insert, delete or replace so that one line becomes the other (Levenshtein)."""
    row = list(range(len(truth) + 1))
    for i, character in enumerate(line, start=1):
        before, row = row, [i]
        for j, wanted in enumerate(truth, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (character != wanted)))
    return row[-1]
