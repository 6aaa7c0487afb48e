"""Sizes of pictures that a network leaves open and yet cannot compute with, and numbers that it lacks.

A network that halves the picture five times and adds what it enlarges again takes multiples of 32 alone,
which its file does not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.resize import multiple_above
from distq.data.samples import InputSpec, shape_text
from distq.errors import DataError, ExecutionError
from distq.replica.session import RunError, Session

MULTIPLES = (8, 16, 32, 64, 128)
"""What sides are rounded up to, to see whether a network runs then."""

Feeds = Mapping[str, npt.NDArray[Any]]


def run_sample(
    session: Session, specs: Sequence[InputSpec], feeds: Feeds, where: str
) -> list[npt.NDArray[Any]]:
    """Outputs of a float network on one sample.

    Args:
        session: of the network.
        specs: its inputs.
        feeds: of the sample, by input.
        where: what an error names first, such as the sample.

    Raises:
        DataError: the network leaves sizes of pictures open, does not run with those of this sample, and does
            with others, saying with which; or whole numbers of the sample are what it does not run with.
        ExecutionError: it fails otherwise.
    """
    try:
        return session.run(feeds)
    except RunError as error:
        step = _running_multiple(session, specs, feeds)
        if step is None:
            _require_numbers(session, feeds, where)
            raise
        picture = next(spec for spec in specs if _is_open(spec))
        size = shape_text(feeds[picture.name].shape[1:])
        raise DataError(
            f"{where}: the model leaves the size of input {picture.name!r} open and does not run with "
            f"{size}: resize with multiple_of: {step} in --preprocess, or to one height and width"
        ) from error


def _require_numbers(session: Session, feeds: Feeds, where: str) -> None:
    """Refuse whole numbers where the network runs with zeros in their place, such as words that it lacks.

    Raises:
        DataError: naming the input.
    """
    for name, array in feeds.items():
        if name not in session.inputs or array.dtype.kind not in "iu" or not array.any():
            continue
        try:
            session.run({**feeds, name: np.zeros_like(array)})
        except ExecutionError:
            continue
        raise DataError(
            f"{where}: input {name!r} holds {array.min()} to {array.max()}, where the model runs with 0: "
            "give numbers that it knows, such as those of its own vocabulary"
        )


def _running_multiple(session: Session, specs: Sequence[InputSpec], feeds: Feeds) -> int | None:
    """The least of these multiples that the network runs with; None where it runs with none of them."""
    if not any(map(_is_open, specs)):
        return None
    for step in MULTIPLES:
        enlarged = {spec.name: _enlarged(feeds[spec.name], spec, step) for spec in specs}
        try:
            session.run(enlarged)
        except ExecutionError:
            continue
        return step
    return None


def _is_open(spec: InputSpec) -> bool:
    """Whether an input takes pictures whose height or width it leaves open."""
    return len(spec.shape) == 4 and None in spec.shape[1:]


def _enlarged(array: npt.NDArray[Any], spec: InputSpec, step: int) -> npt.NDArray[Any]:
    """The array with zeros behind it, so that its open sides are multiples."""
    if not _is_open(spec):
        return array
    sides = [
        multiple_above(own, step) - own if axis and wanted is None else 0
        for axis, (own, wanted) in enumerate(zip(array.shape, spec.shape, strict=True))
    ]
    return np.pad(array, [(0, side) for side in sides])
