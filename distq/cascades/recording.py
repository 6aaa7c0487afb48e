"""What reaches the models of a cascade, recorded while the user's ``forward`` runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from distq.cascades.items import Program, Reached, Wish, evenly, run_here, run_on
from distq.cascades.models import Arrays
from distq.data.images import pixels_of
from distq.data.recorded import RecordedSource, Recorder
from distq.data.samples import Item, Values
from distq.data.sniff import open_source
from distq.data.stream import as_array, expected
from distq.engine.executor import Executor
from distq.engine.progress import Reporter
from distq.errors import DataError

_SPARE = 4
"""How many times its even share an item gives at most: others may give less than theirs."""


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
    if not len(source):
        raise DataError(f"data {path} is empty: give at least one item")
    for index in range(len(source)):
        yield tuple(_decoded(item, source.name(index)) for item in source.read(index))


def _decoded(item: Item, name: str) -> object:
    return item.array if isinstance(item, Values) else pixels_of(item, name)


def _arguments(item: object) -> dict[str, object]:
    """Arguments by name; by position the names are numbers."""
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    values = item if isinstance(item, tuple | list) else (item,)
    return {str(i): os.fspath(v) if isinstance(v, os.PathLike) else v for i, v in enumerate(values)}


class Pass:
    """One pass of ``forward`` over all items, which records what reaches some of the models.

    Samples are taken evenly over the items, up to a number: of so many crops in a photo those of every photo
    are worth more than all those of the first.
    """

    def __init__(
        self, program: Program, inputs: Path, reporter: Reporter, executor: Executor | None = None
    ) -> None:
        """Prepare.

        Args:
            program: models and ``forward``.
            inputs: the folder that :func:`record_inputs` filled.
            reporter: told of progress.
            executor: whose workers run ``forward``; None: this process.
        """
        self._program = program
        self._inputs = inputs
        self._count = len(RecordedSource(inputs, None))
        self._reporter = reporter
        self._executor = executor

    def record(
        self, folders: Mapping[str, Path], most: Mapping[str, int | None], names: Sequence[str] | None
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
            Exception: whatever ``forward`` raises in this process.
        """
        of_item = {name: None if m is None else -(-_SPARE * m // self._count) for name, m in most.items()}
        wish = Wish(None if names is None else tuple(names), of_item)
        recorders = {name: Recorder(folders[name]) for name in names or ()}
        order: dict[str, None] = {}
        self._reporter.start("forward", self._count, "items")
        for number, reached in enumerate(self._all(wish), 1):
            order |= dict.fromkeys(reached.order)
            if names is None and order and not recorders:
                first = next(iter(order))
                recorders[first] = Recorder(folders[first])
            for name, samples in reached.samples.items():
                if name in recorders:
                    _take(recorders[name], samples, most[name], number / self._count)
            self._reporter.advance()
        self._reporter.finish()
        for model in self._program.models:
            if model.name not in order:
                raise DataError(
                    f"forward calls model {model.name} with nothing on {self._count} items: "
                    "give more items, or leave the model out"
                )
        for recorder in recorders.values():
            recorder.close()
        return tuple(order)

    def _all(self, wish: Wish) -> Iterator[Reached]:
        if self._executor is None:
            return run_here(self._program, self._inputs, wish)
        return run_on(self._executor, self._program, self._inputs, wish)


def _take(recorder: Recorder, samples: list[Arrays], most: int | None, part: float) -> None:
    """Record of an item's samples what is due when this part of the items is through."""
    due = None if most is None else math.ceil(most * part) - recorder.count
    for sample in evenly(samples, due):
        recorder.add(sample)
