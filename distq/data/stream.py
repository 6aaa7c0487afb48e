"""Samples that Python gives one by one: each item checked against the model and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.fit import array_remedy, fit
from distq.data.recorded import Recorder
from distq.data.samples import InputSpec
from distq.errors import DataError, plural


def expected(items: Iterable[object], most: int | None) -> int:
    """How many items will be taken, as far as can be known before; 0 where it cannot."""
    count = length_hint(items, most or 0)
    return count if most is None else min(count, most)


def record(
    items: Iterable[object],
    inputs: Sequence[InputSpec],
    folder: Path,
    most: int | None,
    on_item: Callable[[], None],
) -> int:
    """Take items once, in their order, and record each as a sample.

    Args:
        items: An item is an array for a model of one input, a tuple or list of arrays in the model's order of
            inputs, or a mapping from their names. An array is the whole input, or a row of its batch.
        inputs: The model's inputs.
        folder: Where to record.
        most: No more items than this are taken: a generator may be endless. None takes all.
        on_item: Called after each.

    Returns:
        How many samples there are.

    Raises:
        DataError: an item does not fit the model, or there is none.
        ExecutionError: the disk is full.
    """
    recorder = Recorder(folder)
    for number, item in enumerate(islice(items, most)):
        named = _by_input(item, inputs, number)
        recorder.add(
            {
                spec.name: fit(as_array(named[spec.name], number), spec, str(number), array_remedy(spec))
                for spec in inputs
            }
        )
        on_item()
    if not recorder.count:
        raise DataError("the data gives no samples: was this generator used before?")
    recorder.close()
    return recorder.count


def as_array(value: object, number: int) -> NDArray[Any]:
    """What an item holds, as an array of numbers or text.

    Raises:
        DataError: it is something else.
    """
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the user's class raises
        reason = " ".join(str(error).split())
        raise DataError(f"item {number} is of type {type(value).__name__}, no array: {reason}") from error
    if array.dtype.kind not in "biufcUS":
        raise DataError(
            f"item {number} is of type {type(value).__name__}, no array: give numpy arrays of numbers"
        )
    return array


def _by_input(item: object, inputs: Sequence[InputSpec], number: int) -> Mapping[str, object]:
    names = [spec.name for spec in inputs]
    if isinstance(item, Mapping):
        if set(item) != set(names):
            raise DataError(
                f"item {number} has keys {', '.join(map(str, item)) or '(none)'}, "
                f"the model's inputs are {', '.join(names)}: give one array for each"
            )
        return item
    values = item if isinstance(item, tuple | list) else (item,)
    if len(values) != len(names):
        raise DataError(
            f"item {number} holds {plural(len(values), 'array')}, the model has "
            f"{plural(len(names), 'input')} ({', '.join(names)}): "
            "give a tuple with one array for each"
        )
    return dict(zip(names, values, strict=True))
