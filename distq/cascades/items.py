"""Items through the user's ``forward``, in this process or on the workers, and what reached the models."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ray import cloudpickle

from distq.cascades.models import Arrays, CascadeModel, Models
from distq.data.plugin import flat
from distq.data.recorded import RecordedSource
from distq.engine.blas import one_blas_thread
from distq.engine.executor import Executor
from distq.engine.progress import SilentReporter
from distq.engine.run import run_units
from distq.errors import DistqError, UsageError
from distq.replica.keys import content_key
from distq.replica.worker import Blob, Worker

Forward = Callable[..., object]

_ORDER = ":order"


@dataclass
class Reached:
    """What one item led to.

    Attributes:
        order: models in the order of their first call.
        samples: that reached the models that were asked for.
    """

    order: list[str] = field(default_factory=list)
    samples: dict[str, list[Arrays]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """Which samples are wanted of every item.

    Attributes:
        names: of models; None: the one that is called first.
        most: of each model, how many of one item at most, evenly over those that reach it; None is all.
    """

    names: tuple[str, ...] | None
    most: Mapping[str, int | None]


@dataclass(frozen=True)
class Program:
    """A cascade's models and its ``forward``."""

    models: Models
    forward: Forward

    def run(self, arguments: Mapping[str, Any], wish: Wish) -> Reached:
        """Run one item.

        Args:
            arguments: of ``forward``, as they were recorded.
            wish: which samples are wanted.

        Raises:
            DataError: what a model is called with does not fit it.
            Exception: whatever ``forward`` raises.
        """
        reached = Reached()

        def listen(model: CascadeModel, samples: Sequence[Arrays]) -> None:
            if model.name not in reached.order:
                reached.order.append(model.name)
            if model.name in (reached.order[:1] if wish.names is None else wish.names):
                reached.samples.setdefault(model.name, []).extend(samples)

        for model in self.models:
            model.listener = listen
        try:
            call(self.forward, arguments)
        finally:
            for model in self.models:
                model.listener = None
        reached.samples = {n: evenly(found, wish.most[n]) for n, found in reached.samples.items()}
        return reached

    def pickled(self) -> bytes:
        """For the workers; functions and classes of the user's own file travel with it.

        Raises:
            UsageError: something in it cannot travel.
        """
        module = sys.modules.get(getattr(self.forward, "__module__", ""))
        own = (
            module is not None and not module.__name__.startswith("distq.") and module.__name__ != "__main__"
        )
        if own:
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps(self))
        except Exception as error:  # whatever the parts of a user's object raise
            raise UsageError(
                f"forward cannot travel to the workers: {' '.join(str(error).split())}; "
                "leave forward_on_workers out"
            ) from error
        finally:
            if own:
                cloudpickle.unregister_pickle_by_value(module)


def call(forward: Forward, arguments: Mapping[str, Any]) -> object:
    """Call ``forward`` with what was recorded; a text is a text again."""
    values = {name: array[()] if array.ndim == 0 else array for name, array in arguments.items()}
    values = {name: str(value) if isinstance(value, str) else value for name, value in values.items()}
    positional = [value for name, value in values.items() if name.isdigit()]
    return forward(*positional, **{name: value for name, value in values.items() if not name.isdigit()})


def evenly(samples: list[Arrays], most: int | None) -> list[Arrays]:
    """At most so many of the samples, evenly apart."""
    if most is None or len(samples) <= most:
        return samples
    return (
        [samples[i] for i in np.linspace(0, len(samples) - 1, most).round().astype(int)] if most > 0 else []
    )


def run_here(program: Program, inputs: Path, wish: Wish) -> Iterator[Reached]:
    """All items one after the other in this process."""
    items = RecordedSource(inputs, None)
    for index in range(len(items)):
        with one_blas_thread():  # as on the workers
            reached = program.run(items.arrays(index), wish)
        yield reached


def run_on(executor: Executor, program: Program, inputs: Path, wish: Wish) -> Iterator[Reached]:
    """All items on the workers, in their order."""
    shared = executor.share(program.pickled())
    count = len(RecordedSource(inputs, None))
    units = [ForwardItem(shared, str(inputs.absolute()), index, wish) for index in range(count)]
    for result in run_units(executor, None, units, SilentReporter()):
        yield _unpacked(result)


@dataclass(frozen=True)
class ForwardItem:
    """One item through ``forward``.

    Attributes:
        program: a pickled :class:`Program`, made by this job.
        inputs: folder of the recorded items.
        index: of the item.
        wish: which samples are wanted.
    """

    program: Blob
    inputs: str
    index: int
    wish: Wish
    transient: bool = True

    @cached_property
    def key(self) -> str:
        """Identity of the unit within one pass."""
        return content_key("forward", self.program.sha256, self.inputs, self.index)

    @property
    def label(self) -> str:
        """For a person."""
        return f"forward, item {self.index}"

    def run(self, worker: Worker) -> Arrays:
        """Samples by ``model:row:input``, and the order of the models' first calls."""
        program = worker.cached(
            ("cascade", self.program.sha256),
            lambda: cloudpickle.loads(worker.fetch(self.program)),
            lambda _: 0,
        )
        items = RecordedSource(Path(self.inputs), None)
        try:
            return _packed(program.run(items.arrays(self.index), self.wish))
        except DistqError:
            raise
        except Exception as error:
            place = place_in(_file_of(program.forward), error)
            if place is None:
                raise
            raise UsageError(f"item {self.index}: {place}; mend forward") from error


def _file_of(forward: Forward) -> str:
    """Where the user's ``forward`` is written; nothing where it is no function of Python."""
    code = getattr(forward, "__code__", None)
    return "" if code is None else str(code.co_filename)


def place_in(file: Path | str, error: BaseException) -> str | None:
    """The last line of a user's file that an error came through, and what it says; None: none of it."""
    own = Path(file).absolute()
    steps = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in steps if Path(frame.f_code.co_filename).absolute() == own]
    return f"{file}, line {lines[-1]}: {type(error).__name__}: {flat(error)}" if lines else None


def _packed(reached: Reached) -> Arrays:
    arrays = {
        f"{name}:{row}:{key}": array
        for name, samples in reached.samples.items()
        for row, sample in enumerate(samples)
        for key, array in sample.items()
    }
    return {**arrays, _ORDER: np.array(reached.order, str)}


def _unpacked(arrays: Arrays) -> Reached:
    samples: dict[str, list[Arrays]] = {}
    for label, array in arrays.items():
        if label == _ORDER:
            continue
        name, row, key = label.split(":", 2)
        found = samples.setdefault(name, [])
        if len(found) <= int(row):
            found.append({})
        found[int(row)][key] = array
    return Reached([str(name) for name in arrays[_ORDER]], samples)
