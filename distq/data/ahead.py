"""Loading samples ahead of the one that uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from distq.data.samples import Dataset, Sample, UnreadableSample

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Done = TypeVar("Done")


def load_ahead(
    dataset: Dataset, indices: Iterable[int], threads: int = 1, depth: int = 4
) -> Generator[Sample | UnreadableSample]:
    """Load samples in order, decoding up to ``depth`` of them in threads while the caller works.

    Args:
        dataset: Where to load from.
        indices: Which samples, in which order.
        threads: How many decode at a time; decoding releases Python's lock.
        depth: Most samples decoded or being decoded that the caller has not taken.

    Yields:
        Each sample, or the error of one that is unreadable, so that the caller decides about it.

    Raises:
        DataError: a sample does not fit the model.
        ValueError: ``threads`` or ``depth`` is not positive.
    """
    if threads < 1 or depth < 1:
        raise ValueError(
            f"loading ahead takes at least one thread and a depth of one, not {threads} and {depth}"
        )

    def load(index: int) -> Sample | UnreadableSample:
        try:
            return dataset.load(index)
        except UnreadableSample as error:
            error.index = index
            return error

    def begin(index: int) -> Future[Sample | UnreadableSample]:
        return pool.submit(load, index)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="distq-decode")
    try:
        yield from in_order(begin, Future.result, indices, depth)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    begin: Callable[[Item], Begun], finish: Callable[[Begun], Done], items: Iterable[Item], depth: int
) -> Iterator[Done]:
    """Begin something for each item, and give the results in the order of the items.

    Args:
        begin: starts it elsewhere and returns at once.
        finish: waits for what ``begin`` returned.
        items: in which order.
        depth: most that are begun and that the caller has not taken.
    """
    remaining = iter(items)
    pending = deque(begin(item) for item in islice(remaining, depth))
    while pending:
        done = finish(pending.popleft())
        pending.extend(begin(item) for item in islice(remaining, 1))
        yield done
