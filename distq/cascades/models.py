"""The models of a cascade: each runs in float or INT8, and tells who listens what reaches it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distq.data.fit import array_remedy, fit, with_batch
from distq.data.samples import InputSpec, shape_text
from distq.errors import DataError, ModelError, UsageError
from distq.exchange.model_file import read_network
from distq.graph.large import from_proto
from distq.replica.session import Session, is_float
from distq.replica.worker import WorkerSettings
from distq.run.samples import input_specs, tensor_spec

Arrays = dict[str, NDArray[Any]]
Listener = Callable[["CascadeModel", Sequence[Arrays]], None]
"""Is told of every call of a model and its samples, before they run."""

RESERVED = frozenset({"inputs", "journal.jsonl", "cascade.json"})
"""What else lies in the folder of a cascade."""

_NAME = re.compile(r"\w[\w.-]*")


class CascadeModel:
    """One model of a cascade, called like a function.

    Attributes:
        name: of its run folder.
        path: of the float network, an ONNX file or a Caffe prototxt.
        inputs: in the model's order.
        outputs: names, in the model's order.
        output_specs: the same with shapes and dtypes.
        listener: told of every call.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Read a model.

        Raises:
            ModelError: it cannot be read.
            UsageError: the name is no name of a folder.
        """
        self.name = name
        self.rename(name)
        self.path = path
        self.listener: Listener | None = None
        read = read_network(path)
        self.sha256, model = read.sha256, from_proto(read.proto)
        self.inputs: tuple[InputSpec, ...] = input_specs(model)
        self.output_specs = tuple(tensor_spec(value) for value in model.graph.outputs)
        self.outputs = tuple(spec.name for spec in self.output_specs)
        self._float = read.proto.SerializeToString()
        self._session: Session | None = None
        self._model = self._float

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: no session, and who listens stays here."""
        return {**self.__dict__, "_session": None, "listener": None}

    def rename(self, name: str) -> None:
        """Give it another name.

        Raises:
            UsageError: it is no name of a folder.
        """
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise UsageError(
                f"model name {name!r} cannot be that of a folder in OUT: take letters, digits, _, - and ."
            )
        self.name = name

    def use(self, path: Path | None) -> None:
        """Run the INT8 network of a file from here on; None: the float one.

        Raises:
            ModelError: it cannot be read, or has other inputs and outputs.
        """
        model = self._float
        if path is not None:
            proto = read_network(path).proto
            graph = from_proto(proto)
            same_outputs = self.outputs == tuple(value.name or "" for value in graph.graph.outputs)
            if input_specs(graph) != self.inputs or not same_outputs:
                raise ModelError(f"{path} is not made from {self.path}: its inputs or outputs differ")
            model = proto.SerializeToString()
        self._model, self._session = model, None

    def __call__(self, *inputs: object) -> list[NDArray[Any]]:
        """Run the model.

        Args:
            inputs: An array for each input, in the model's order, or one mapping from their names. Where the
                leading dimension of the inputs is the batch, an array may have any number of rows, also none:
                each is a sample. A model with a batch of 1 runs once for each.

        Returns:
            The outputs in the model's order.

        Raises:
            DataError: an array does not fit its input.
            ExecutionError: ONNX Runtime fails.
        """
        named = self._named(inputs)
        if not self._has_rows(named):
            return self._run([self._whole(named)])
        counts = {len(array) for array in named.values()}
        if len(counts) > 1:
            facts = ", ".join(f"{name} {len(array)}" for name, array in named.items())
            raise DataError(f"model {self.name} is called with different numbers of rows: {facts}")
        (count,) = counts
        if not count:  # what a sample of zeros gives has the shape of the rows that there are none of
            blank = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in named.items()}
            return [output[:0] for output in self._outputs([self._whole(blank)])]
        return self._run([self._whole({n: a[i : i + 1] for n, a in named.items()}, i) for i in range(count)])

    def _run(self, samples: Sequence[Arrays]) -> list[NDArray[Any]]:
        if self.listener is not None:
            self.listener(self, samples)
        return self._outputs(samples)

    def _outputs(self, samples: Sequence[Arrays]) -> list[NDArray[Any]]:
        if self._session is None:
            floating = is_float(self._model)
            self._session = Session(self._model, WorkerSettings(), fused=not floating, float_network=floating)
        if len(samples) > 1 and all(spec.shape[0] is None for spec in self.inputs):
            return self._session.run({n: np.concatenate([s[n] for s in samples]) for n in samples[0]})
        found = [self._session.run(sample) for sample in samples]
        return found[0] if len(found) == 1 else [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _named(self, inputs: tuple[object, ...]) -> Arrays:
        names = [spec.name for spec in self.inputs]
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            given = inputs[0]
            if set(given) != set(names):
                raise DataError(
                    f"model {self.name} is called with {', '.join(map(str, given))}: "
                    f"its inputs are {', '.join(names)}"
                )
            inputs = tuple(given[name] for name in names)
        if len(inputs) != len(names):
            raise DataError(
                f"model {self.name} is called with {len(inputs)} arrays: its inputs are {', '.join(names)}"
            )
        arrays = [np.asarray(value) for value in inputs]
        return {spec.name: with_batch(array, spec) for spec, array in zip(self.inputs, arrays, strict=True)}

    def _has_rows(self, named: Arrays) -> bool:
        """Whether the leading axis of all arrays counts samples."""
        return all(spec.batched and named[spec.name].ndim == len(spec.shape) for spec in self.inputs)

    def _whole(self, named: Arrays, row: int = 0) -> Arrays:
        where = f"{row} in a call of {self.name}"
        return {spec.name: fit(named[spec.name], spec, where, array_remedy(spec)) for spec in self.inputs}

    def __repr__(self) -> str:
        taken = ", ".join(f"{spec.name} {shape_text(spec.shape)}" for spec in self.inputs)
        return f"CascadeModel({self.name}: {taken})"


class Models:
    """Models by name, or by their position."""

    def __init__(self, models: Sequence[CascadeModel]) -> None:
        """Take models.

        Raises:
            UsageError: there is none, or two have one name.
        """
        self._by_name = {model.name: model for model in models}
        if not models or len(self._by_name) != len(models):
            raise UsageError("a cascade has one model or several, each with a name of its own")

    def __getitem__(self, key: str | int) -> CascadeModel:
        """The model of a name, or the one at a position from 0.

        Raises:
            UsageError: there is none.
        """
        every = list(self._by_name.values())
        if isinstance(key, int) and -len(every) <= key < len(every):
            return every[key]
        if isinstance(key, str) and key in self._by_name:
            return self._by_name[key]
        raise UsageError(f"the cascade has no model {key!r}: it has {', '.join(self._by_name)}")

    def __iter__(self) -> Iterator[CascadeModel]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they were given."""
        return tuple(self._by_name)


def open_models(models: Mapping[str, Path] | Sequence[Path]) -> Models:
    """Read the models of a cascade; those without names are called as their files, without suffix.

    Raises:
        ModelError: one cannot be read.
        UsageError: names that are not usable, or none.
    """
    if isinstance(models, Mapping):
        return Models([CascadeModel(name, path) for name, path in models.items()])
    stems = [path.stem for path in models]
    names = stems if len(set(stems)) == len(stems) else [f"{i}-{stem}" for i, stem in enumerate(stems)]
    return Models([CascadeModel(name, path) for name, path in zip(names, models, strict=True)])
