"""A worker's view of the data set: opened once, decoded ahead, and kept while it is used again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.data.dataset import Dataset, DatasetSpec, Sample, UnreadableSample, load_ahead
from distq.replica.worker import Arrays, Worker, array_bytes


def open_dataset(opened: dict[Hashable, Any], spec: DatasetSpec) -> Dataset:
    """The data set, opened once among these; a copy of its own stays as long as they do."""
    if spec not in opened:
        opened[spec] = spec.open_copy()
    dataset: Dataset = opened[spec][0]
    return dataset


def read_samples(
    worker: Worker, spec: DatasetSpec, indices: Sequence[int]
) -> Iterator[Sample | UnreadableSample]:
    """Samples in order, the next ones decoded while the caller works on this one.

    A model of a fixed batch gets a sample as often as the batch has places: each place computes the same.
    """
    threads, actors = worker.settings.decode_threads, worker.settings.decode_actors
    depth = max(4, 2 * (actors or threads))
    if worker.decoders is not None:
        samples = worker.decoders.load_ahead(spec, indices, depth)
    else:
        samples = load_ahead(open_dataset(worker.datasets, spec), indices, threads, depth)
    for sample in samples:
        yield sample if isinstance(sample, UnreadableSample) else _fill_batch(sample, spec)


def _fill_batch(sample: Sample, spec: DatasetSpec) -> Sample:
    inputs = dict(sample.inputs)
    for wanted in spec.inputs:
        places = wanted.shape[0] if wanted.shape else None
        if places is not None and places != len(inputs[wanted.name]):
            inputs[wanted.name] = np.repeat(inputs[wanted.name], places, axis=0)
    return replace(sample, inputs=inputs)


def kept_inputs(worker: Worker, spec: DatasetSpec, indices: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
    """Inputs of readable samples by index, kept on the worker for the next unit that wants them."""
    missing = list(dict.fromkeys(i for i in indices if worker.get(("inputs", spec, i)) is None))
    fresh = read_samples(worker, spec, tuple(missing))
    for index in indices:
        inputs: dict[str, npt.NDArray[Any]] | None = worker.get(("inputs", spec, index))
        if inputs is None:
            if missing and missing[0] == index:
                missing.pop(0)
                sample = next(fresh)
            else:  # fell out of the cache since
                sample = next(read_samples(worker, spec, [index]))
            if isinstance(sample, UnreadableSample):
                raise sample
            inputs = sample.inputs
            worker.keep(("inputs", spec, index), inputs, array_bytes(inputs))
        yield index, inputs
