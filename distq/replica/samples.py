"""A worker's view of the data set: opened once, decoded ahead, and kept while it is used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from distq.data.dataset import Dataset, DatasetSpec, Sample, UnreadableSample, load_ahead
from distq.replica.worker import Arrays, Worker, array_bytes


def open_dataset(opened: dict[Hashable, Any], spec: DatasetSpec) -> Dataset:
    """The data set, opened once among these; a copy of its own stays as long as they do."""
    if spec not in opened:
        opened[spec] = spec.open_copy()
    dataset: Dataset = opened[spec][0]
    return dataset


def read_samples(
    worker: Worker, spec: DatasetSpec, indices: Sequence[int], *, keep: bool = False
) -> Iterator[Sample | UnreadableSample]:
    """Samples in order: those that the worker has kept, and others decoded while the caller works on one.

    Args:
        worker: reads them.
        spec: where they are.
        indices: which.
        keep: keep them for the next unit that wants them.
    """
    missing = deque(dict.fromkeys(i for i in indices if worker.get(("sample", spec, i)) is None))
    fresh = _decoded(worker, spec, tuple(missing))
    for index in indices:
        kept: Sample | None = worker.get(("sample", spec, index))
        if kept is not None:
            yield kept
            continue
        if missing and missing[0] == index:
            missing.popleft()
            sample = next(fresh)
        else:  # fell out of the cache since
            sample = next(_decoded(worker, spec, [index]))
        if keep and not isinstance(sample, UnreadableSample):
            worker.keep(("sample", spec, index), sample, array_bytes(sample.inputs))
        yield sample


def kept_inputs(worker: Worker, spec: DatasetSpec, indices: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
    """Inputs of readable samples by index, kept on the worker for the next unit that wants them."""
    for index, sample in zip(indices, read_samples(worker, spec, indices, keep=True), strict=True):
        if isinstance(sample, UnreadableSample):
            raise sample
        yield index, sample.inputs


def _decoded(
    worker: Worker, spec: DatasetSpec, indices: Sequence[int]
) -> Iterator[Sample | UnreadableSample]:
    threads, actors = worker.settings.decode_threads, worker.settings.decode_actors
    depth = max(4, 2 * (actors or threads))
    if worker.decoders is not None:
        return worker.decoders.load_ahead(spec, indices, depth)
    found = load_ahead(open_dataset(worker.datasets, spec), indices, threads, depth)
    worker.at_end(found.close)
    return found
