"""Units of the float replica: the distributions of its tensors, the means of its layers, its outputs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.calibration.bundle import pack
from distq.calibration.counter import Counter, Memory
from distq.data.dataset import DatasetSpec, Sample, UnreadableSample
from distq.errors import DataError
from distq.replica.keys import content_key
from distq.replica.open_sizes import run_sample
from distq.replica.outputs import as_numbers
from distq.replica.samples import kept_inputs, read_samples
from distq.replica.session import Session, cached_bytes, is_float
from distq.replica.side_by_side import samples_side_by_side, side_by_side
from distq.replica.worker import Arrays, Blob, Worker
from distq.search.metrics import power_of


@dataclass(frozen=True)
class Observe:
    """Count the values of tensors over some samples.

    The result holds what ``distq.calibration.bundle`` packs, in the order of ``tensors``, and ``unreadable``:
    indices of samples that could not be decoded, with ``reasons``.
    """

    model: Blob  # the float model with ``tensors`` as outputs
    tensors: tuple[str, ...]
    data: DatasetSpec
    indices: Sequence[int]
    counted: int | None = None  # values of a tensor that are counted of a sample at most; None: all

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key(
            "counts", self.model.sha256, self.tensors, self.data.source, self.indices, self.counted
        )

    @property
    def label(self) -> str:
        """For a person."""
        return f"calibrate, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """One forward a sample."""
        session = open_session(worker, self.model)
        number = len(self.tensors)
        memory: Memory = worker.cached(("counting", number), lambda: Memory(number), lambda m: m.nbytes)
        counters = [Counter(memory, i, self.counted) for i in range(number)]
        unreadable: list[UnreadableSample] = []
        samples = read_samples(worker, self.data, self.indices)
        for values in samples_side_by_side(worker, partial(self._values, session), samples):
            if isinstance(values, UnreadableSample):
                unreadable.append(values)
                continue
            for name, counter in zip(self.tensors, counters, strict=True):
                counter.add(values.pop(name))
        result = unreadable_arrays(unreadable) | pack(counters)
        if any(counter.nonfinite for counter in counters):
            self._refuse_nonfinite(worker, session)
        return result

    def _values(self, session: Session, sample: Sample) -> Arrays:
        outputs = run_sample(session, self.data.inputs, sample.inputs, f"sample {sample.name}")
        return dict(zip(session.outputs, outputs, strict=True)) | sample.inputs

    def _refuse_nonfinite(self, worker: Worker, session: Session) -> None:
        """Look for the first sample with NaN or inf in a tensor: samples are counted several at once.

        Raises:
            DataError: naming the tensor and the sample.
        """
        for sample in read_samples(worker, self.data, self.indices):
            if isinstance(sample, UnreadableSample):
                continue
            values = self._values(session, sample)
            for name in self.tensors:
                with np.errstate(over="ignore"):
                    finite = np.isfinite(values[name].astype(np.float32, copy=False)).all()
                if not finite:
                    raise DataError(
                        f"tensor {name} holds NaN or inf on {sample.name}: mend the model or drop the sample"
                    )


@dataclass(frozen=True)
class LayerMeans:
    """Mean of each layer's output over its positions, a row an image: what bias correction restores."""

    model: Blob  # the float model with one mean per layer as its outputs
    layers: tuple[str, ...]
    data: DatasetSpec
    indices: Sequence[int]

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("means", self.model.sha256, self.layers, self.data.source, self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        return f"float means, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """Arrays named by the layer's position: float64 (images, channels)."""
        session = open_session(worker, self.model)
        rows: list[list[npt.NDArray[Any]]] = []
        unreadable: list[UnreadableSample] = []
        samples = read_samples(worker, self.data, self.indices)
        for found in samples_side_by_side(worker, lambda sample: session.run(sample.inputs), samples):
            if isinstance(found, UnreadableSample):
                unreadable.append(found)
                continue
            rows.append([value.astype(np.float64).reshape(-1) for value in found])
        result: Arrays = unreadable_arrays(unreadable)
        for i in range(len(self.layers)):
            result[str(i)] = np.array([row[i] for row in rows])
        return result


def float_outputs(
    worker: Worker,
    model: Blob,
    data: DatasetSpec,
    index: int,
    inputs: Arrays | None = None,
    *,
    keep: bool = True,
) -> list[npt.NDArray[Any]]:
    """Outputs of the float replica on one sample; kept for later units unless told that none will ask."""
    found = known_outputs(worker, model, data, index)
    if found is None:
        feeds = inputs if inputs is not None else next(kept_inputs(worker, data, [index]))[1]
        found = as_numbers(open_session(worker, model).run(feeds))
        if keep:
            keep_outputs(worker, model, data, index, found)
    return found


def outputs_of_all(
    worker: Worker, model: Blob, data: DatasetSpec, indices: Sequence[int]
) -> Iterator[list[npt.NDArray[Any]]]:
    """The same for some samples, in their order, side by side and kept."""
    session = open_session(worker, model)

    def fed() -> Iterator[tuple[Arrays, list[npt.NDArray[Any]] | None]]:
        for index in indices:
            found = known_outputs(worker, model, data, index)
            yield {} if found else next(kept_inputs(worker, data, [index]))[1], found

    def run(one: tuple[Arrays, list[npt.NDArray[Any]] | None]) -> list[npt.NDArray[Any]]:
        feeds, found = one
        return found or as_numbers(session.run(feeds))

    for index, found in zip(indices, side_by_side(worker, run, fed()), strict=True):
        keep_outputs(worker, model, data, index, found)
        yield found


def known_outputs(
    worker: Worker, model: Blob, data: DatasetSpec, index: int
) -> list[npt.NDArray[Any]] | None:
    """Float outputs of a sample that the worker has kept."""
    return worker.get(_place(model, data, index))


def keep_outputs(
    worker: Worker, model: Blob, data: DatasetSpec, index: int, outputs: list[npt.NDArray[Any]]
) -> None:
    """Keep the float outputs of a sample."""
    worker.keep(_place(model, data, index), outputs, sum(o.nbytes for o in outputs))


def _place(model: Blob, data: DatasetSpec, index: int) -> Hashable:
    return "float outputs", model.sha256, data, index


def open_session(worker: Worker, model: Blob) -> Session:
    """A session of a whole network, opened once on this worker."""

    def build() -> Session:
        data = worker.fetch(model)
        return Session(data, worker.settings, fused=True, float_network=is_float(data))

    found: Session = worker.cached(("session", model.sha256), build, cached_bytes(worker), growing=True)
    return found


def unreadable_arrays(samples: list[UnreadableSample]) -> Arrays:
    """Which samples could not be read, in a result."""
    return {
        "unreadable": np.array([s.index for s in samples], np.int64),
        "reasons": np.array([str(s) for s in samples], np.str_),
    }


@dataclass(frozen=True)
class Outputs:
    """Size of the float outputs on some samples: what errors are measured against."""

    model: Blob
    data: DatasetSpec
    indices: Sequence[int]
    affinity: int | None = None

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        return content_key("outputs", self.model.sha256, self.data.source, self.indices)

    @property
    def label(self) -> str:
        """For a person."""
        return f"float outputs, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``power``: float64 (images, outputs), sums of y32^2; ``elements``: int64 (outputs,)."""
        rows = list(outputs_of_all(worker, self.model, self.data, self.indices))
        power = np.array([[power_of(output) for output in row] for row in rows])
        return {"power": power, "elements": np.array([o.size for o in rows[0]], np.int64)}


@dataclass(frozen=True)
class ChannelRanges:
    """Smallest value, largest value and mean square of each channel of tensors, a row a sample.

    Channels are the second axis; of tensors named in ``rows`` the last one.
    """

    model: Blob  # the float model with ``tensors`` as outputs
    tensors: tuple[str, ...]
    data: DatasetSpec
    indices: Sequence[int]
    rows: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Identity of the unit."""
        own = ("channel ranges", self.model.sha256, self.tensors, self.data.source, self.indices)
        return content_key(*own, *([self.rows] if self.rows else ()))

    @property
    def label(self) -> str:
        """For a person."""
        return f"channel ranges, samples {self.indices[0]}-{self.indices[-1]}"

    def run(self, worker: Worker) -> Arrays:
        """``i/low``, ``i/high`` and ``i/power``, float32 (samples, channels), by the tensor's position i."""
        session = open_session(worker, self.model)

        def ranges(sample: tuple[int, Arrays]) -> Arrays:
            values = dict(zip(session.outputs, session.run(sample[1]), strict=True))
            found: Arrays = {}
            for i, name in enumerate(self.tensors):
                value = values[name]
                channels = value.ndim - 1 if name in self.rows else 1
                axes = tuple(axis for axis in range(value.ndim) if axis != channels)
                found[f"{i}/low"], found[f"{i}/high"] = value.min(axis=axes), value.max(axis=axes)
                found[f"{i}/power"] = np.mean(np.square(value), axis=axes)
            return found

        samples = list(side_by_side(worker, ranges, kept_inputs(worker, self.data, self.indices)))
        return {name: np.array([found[name] for found in samples]) for name in samples[0]} if samples else {}
