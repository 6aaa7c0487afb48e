"""Where boxes in a network's input lie on the picture that was made into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distq.data.objects import move
from distq.data.picture import Step
from distq.data.preprocess import preprocessing_of
from distq.errors import PreprocessError
from distq.reports.facts import Detections


def on_picture(found: Detections, preprocessing: object, size: tuple[int, int] | None) -> Detections | None:
    """Detections with corners as fractions of the picture; None where that cannot be told.

    Args:
        found: with corners as fractions of the input.
        preprocessing: as ``run.json`` has it.
        size: height and width of the picture.
    """
    if size is None or not isinstance(preprocessing, dict):
        return None
    steps = _steps(preprocessing)
    if steps is None:
        return None
    height, width = size
    across = np.array([[0.0, 0.0, width, 0.0], [0.0, 0.0, 0.0, height]])  # from a corner along both sides
    moved, (rows, columns) = move(steps, across, size)
    origin, sides = moved[0, :2], (moved[:, 2:] - moved[:, :2]).T
    points = found[:, :4].reshape(-1, 2, 2) * np.array([columns, rows])
    places = np.linalg.solve(sides, (points - origin).reshape(-1, 2).T).T.reshape(-1, 2, 2)
    low, high = places.min(axis=1), places.max(axis=1)
    return np.concatenate([np.clip(low, 0, 1), np.clip(high, 0, 1), found[:, 4:]], axis=1)


def _steps(preprocessing: dict[str, object]) -> list[Step] | None:
    """Of the one input that has some; None where there are more, or a plug-in does it."""
    if "default" in preprocessing:
        return []
    try:
        inputs = preprocessing_of(preprocessing, "run.json", Path()).inputs
    except PreprocessError:
        return None
    return [*next(iter(inputs.values())).steps] if len(inputs) == 1 else None
