"""Detections before suppression, one row a cell, anchor or query, and how far two networks' are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distq.search.measures.boxes import Boxes, overlap_of_pairs, overlaps, suppress

FloatArray = npt.NDArray[np.float64]

COUNTED = 0.05
"""A cell counts where one of the two networks gives it this score: most cells see nothing."""


@dataclass(frozen=True)
class Cells:
    """What a detector says of one picture.

    Attributes:
        corners: float64 (n, 4): left, top, right, bottom in pixels of the network's input.
        scores: float64 (n, classes): of each class.
        aligned: a row is the same place in every network; else rows are sorted, and suppressed already.
    """

    corners: FloatArray
    scores: FloatArray
    aligned: bool = True

    @property
    def best(self) -> FloatArray:
        """The score of each row's best class, (n,)."""
        return np.asarray(self.scores.max(axis=1, initial=0))

    def boxes(self, least_score: float, overlap: float, most: int) -> Boxes:
        """Detections over a score, of those of a class that overlap by more the best one."""
        kept = self.best > least_score
        scores = self.scores[kept]
        classes = scores.argmax(axis=1) if scores.size else np.zeros(0, np.int64)
        found = Boxes(self.corners[kept], self.best[kept], classes.astype(np.int64))
        return suppress(found, overlap if self.aligned else 1.0, most)


@dataclass(frozen=True)
class Difference:
    """How far a network's detections are from the float network's on one picture; sums over cells.

    Attributes:
        box: 1 - intersection over union, times the cell's weight: the larger of the two scores.
        classes: Jensen-Shannon divergence in bits of the class probabilities, times the weight.
        score: squared difference of the best class's score.
        weight: of the float network's cells, to divide the others by.
    """

    box: float
    classes: float
    score: float
    weight: float

    @property
    def total(self) -> float:
        """What a search lowers."""
        return self.box + self.classes + self.score


def difference(found: Cells, wanted: Cells) -> Difference:
    """Compare two networks' cells of one picture.

    Cells of the same place are compared, so nothing has to be matched, nor cut off at a score that a little
    noise crosses. Rows that are sorted by score are paired by overlap; one without a partner is lost whole.
    """
    if not found.aligned or found.corners.shape != wanted.corners.shape:
        found, wanted = _paired(found, wanted)
    ours, theirs = found.best, wanted.best
    whole = np.concatenate([found.corners, found.scores], axis=1)
    bad = np.asarray(~np.isfinite(whole).all(axis=1))
    weights = np.where(bad, np.maximum(theirs, 1.0), np.maximum(ours, theirs))
    kept = weights >= COUNTED
    weights, good = weights[kept], ~bad[kept]
    box, classes = np.ones(len(weights)), np.ones(len(weights))
    pairs = found.corners[kept][good], wanted.corners[kept][good]
    box[good] = 1 - overlap_of_pairs(*pairs)
    classes[good] = divergence(found.scores[kept][good], wanted.scores[kept][good])
    score = np.where(good, np.where(bad[kept], 0, ours[kept]) - theirs[kept], 1.0) ** 2
    own = theirs[theirs >= COUNTED]
    return Difference(*(math.fsum(part) for part in (weights * box, weights * classes, score, own)))


def divergence(one: FloatArray, other: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence in bits, 0 to 1, of rows of class scores brought to sum 1, (n,).

    One class alone cannot be mistaken for another: 0. Source: J. Lin, Divergence measures based on the
    Shannon entropy, IEEE Trans. Inf. Theory 37 (1991).
    """
    p, q = (rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12) for rows in (one, other))
    middle = (p + q) / 2
    parts = [
        np.where(r > 0, r * np.log2(np.maximum(r, 1e-300) / np.maximum(middle, 1e-300)), 0) for r in (p, q)
    ]
    found: FloatArray = np.clip(sum(part.sum(axis=1) for part in parts) / 2, 0, 1)
    return found


def _paired(found: Cells, wanted: Cells) -> tuple[Cells, Cells]:
    """Rows of both in pairs, by class and overlap, best first; the partner of a lone one has score 0."""
    classes = max(found.scores.shape[1], wanted.scores.shape[1])
    sides = [_wider(cells, classes) for cells in (found, wanted)]
    shared = overlaps(wanted.corners, found.corners)
    kinds = [side.scores.argmax(axis=1) if len(side.scores) else np.zeros(0) for side in sides]
    shared[kinds[1][:, None] != kinds[0][None, :]] = 0
    pairs = []
    for row in np.argsort(-wanted.best, kind="stable"):
        if shared.shape[1] and shared[row].max() > 0:
            partner = int(shared[row].argmax())
            shared[:, partner] = 0
            pairs.append((partner, int(row)))
    lone = [
        sorted(set(range(len(side.corners))) - {pair[i] for pair in pairs}) for i, side in enumerate(sides)
    ]
    order = [[pair[i] for pair in pairs] for i in range(2)]
    none = np.zeros((len(lone[0]), classes)), np.zeros((len(lone[1]), classes))
    far = np.zeros((len(lone[0]), 4)), np.zeros((len(lone[1]), 4))
    ours, theirs = sides
    return (
        Cells(
            np.concatenate([ours.corners[order[0]], ours.corners[lone[0]], far[1]]),
            np.concatenate([ours.scores[order[0]], ours.scores[lone[0]], none[1]]),
        ),
        Cells(
            np.concatenate([theirs.corners[order[1]], far[0], theirs.corners[lone[1]]]),
            np.concatenate([theirs.scores[order[1]], none[0], theirs.scores[lone[1]]]),
        ),
    )


def _wider(cells: Cells, classes: int) -> Cells:
    missing = classes - cells.scores.shape[1]
    return Cells(cells.corners, np.pad(cells.scores, ((0, 0), (0, missing))))
