"""What reaches the models of a cascade, recorded while the user's ``forward`` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distq.cascades.models import Arrays, CascadeModel, Models
from distq.data.images import decode_image, read_image_file
from distq.data.recorded import RecordedSource, Recorder
from distq.data.samples import DEFAULT_PIXEL_LIMIT, ImageBytes, ImageFile, Item
from distq.data.sniff import open_source
from distq.data.stream import as_array, expected
from distq.engine.progress import Reporter
from distq.errors import DataError

Forward = Callable[..., object]


def record_inputs(items: Iterable[object], folder: Path, most: int | None, reporter: Reporter) -> None:
    """Keep what ``forward`` is called with: passes over it come back to it, also after an interruption.

    Args:
        items: An item is an array, a number or a text; a tuple or list of them for a ``forward`` of several
            arguments; or a mapping from the arguments' names.
        folder: Where.
        most: of the items; None is all.
        reporter: Told of progress.

    Raises:
        DataError: an item is something else, or there is none.
        ExecutionError: the disk is full.
    """
    recorder = Recorder(folder)
    reporter.start("record inputs", expected(items, most), "items")
    names: list[str] | None = None
    for number, item in enumerate(islice(items, most)):
        arguments = _arguments(item)
        names = names or list(arguments)
        if list(arguments) != names:
            raise DataError(
                f"item {number} has arguments {', '.join(arguments)}, those before {', '.join(names)}"
            )
        recorder.add({name: as_array(value, number) for name, value in arguments.items()})
        reporter.advance()
    reporter.finish()
    if not recorder.count:
        raise DataError("the data gives no items: was this generator used before?")
    recorder.close()


def items_of(path: Path) -> Iterator[object]:
    """The samples of a data source: images decoded, uint8 (H, W, 3) in BGR order; arrays as they are.

    Raises:
        DataError: it cannot be read.
    """
    source = open_source(path, None)
    for index in range(len(source)):
        yield tuple(_decoded(item, source.name(index)) for item in source.read(index))


def _decoded(item: Item, name: str) -> object:
    if isinstance(item, ImageFile):
        return decode_image(read_image_file(item.path), str(item.path), DEFAULT_PIXEL_LIMIT)
    if isinstance(item, ImageBytes):
        return decode_image(item.data, name, DEFAULT_PIXEL_LIMIT)
    return item.array


def _arguments(item: object) -> dict[str, object]:
    """Arguments by name; by position the names are numbers."""
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    values = item if isinstance(item, tuple | list) else (item,)
    return {str(i): os.fspath(v) if isinstance(v, os.PathLike) else v for i, v in enumerate(values)}


def call(forward: Forward, arguments: Mapping[str, Any]) -> object:
    """Call ``forward`` with what was recorded; a text is a text again."""
    values = {name: array[()] if array.ndim == 0 else array for name, array in arguments.items()}
    values = {name: str(value) if isinstance(value, str) else value for name, value in values.items()}
    positional = [value for name, value in values.items() if name.isdigit()]
    return forward(*positional, **{name: value for name, value in values.items() if not name.isdigit()})


class Pass:
    """One pass of ``forward`` over all items, which records what reaches some of the models.

    Samples are taken evenly over the items, up to a number: of so many crops in a photo those of every photo
    are worth more than all those of the first.
    """

    def __init__(self, models: Models, forward: Forward, inputs: Path, reporter: Reporter) -> None:
        """Prepare.

        Args:
            models: of the cascade.
            forward: of the user.
            inputs: the folder that :func:`record_inputs` filled.
            reporter: told of progress.
        """
        self._models = models
        self._forward = forward
        self._items = RecordedSource(inputs, None)
        self._reporter = reporter
        self._recorders: dict[str, Recorder] = {}
        self._folders: Mapping[str, Path] = {}
        self._most: Mapping[str, int | None] = {}
        self._item = 0
        self._first_alone = False
        self._order: list[str] = []

    def record(
        self, folders: Mapping[str, Path], most: Mapping[str, int | None], names: Collection[str] | None
    ) -> tuple[str, ...]:
        """Run it.

        Args:
            folders: where the samples of each model go.
            most: how many of each; None is all.
            names: of the models whose samples are recorded; None: the first that is called.

        Returns:
            The models in the order in which they are first called.

        Raises:
            DataError: nothing reaches a model.
        """
        self._folders, self._most, self._order = folders, most, []
        self._first_alone = names is None
        self._recorders = {name: Recorder(folders[name]) for name in names or ()}
        self._reporter.start("forward", len(self._items), "items")
        try:
            for model in self._models:
                model.listener = self._listen
            for number in range(len(self._items)):
                self._item = number
                call(self._forward, self._items.arrays(number))
                self._reporter.advance()
        finally:
            for model in self._models:
                model.listener = None
            self._reporter.finish()
        for model in self._models:
            if model.name not in self._order:
                raise DataError(
                    f"forward calls model {model.name} with nothing on {len(self._items)} items: "
                    "give more items, or leave the model out"
                )
        for recorder in self._recorders.values():
            recorder.close()
        return tuple(self._order)

    def _listen(self, model: CascadeModel, samples: Sequence[Arrays]) -> None:
        if model.name not in self._order:
            if self._first_alone and not self._order:
                self._recorders[model.name] = Recorder(self._folders[model.name])
            self._order.append(model.name)
        if model.name in self._recorders:
            self._take(model.name, samples)

    def _take(self, name: str, samples: Sequence[Arrays]) -> None:
        recorder, most = self._recorders[name], self._most[name]
        wanted = len(samples)
        if most is not None:
            due = -(-most * (self._item + 1) // len(self._items))
            wanted = min(wanted, due - recorder.count)
        if wanted > 0:
            for index in np.linspace(0, len(samples) - 1, wanted).round().astype(int):
                recorder.add(samples[index])
