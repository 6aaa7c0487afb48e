"""Samples of a unit that are worked on at the same time, each on a thread of its own.

ONNX Runtime and numpy let go of Python's lock while they compute. A session gives each sample the same bits
whoever else runs it meanwhile, as it computes on the thread that asks; and results come in the order of the
samples. So nothing depends on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from distq.data.ahead import in_order
from distq.data.samples import UnreadableSample
from distq.replica.worker import Worker

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    worker: Worker, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """A function of each item, in their order; as many at a time as the worker has threads for.

    Args:
        worker: has the threads.
        function: takes nothing from the worker, whose memory belongs to the caller's thread.
        items: are taken by the caller's thread, a few ahead of the results.

    Raises:
        Exception: what the function raises, in place of that item's result.
    """
    threads = worker.settings.together
    if threads == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="distq-sample")
    end = partial(pool.shutdown, wait=True, cancel_futures=True)
    worker.at_end(end)
    try:

        def begin(item: Item) -> Future[Result]:
            return pool.submit(function, item)

        yield from in_order(begin, Future.result, items, threads)
    finally:
        end()


def samples_side_by_side(
    worker: Worker, function: Callable[[Item], Result], samples: Iterable[Item | UnreadableSample]
) -> Iterator[Result | UnreadableSample]:
    """The same of samples; those that cannot be read come back as they are."""
    yield from side_by_side(worker, partial(_unless_unreadable, function), samples)


def _unless_unreadable(
    function: Callable[[Item], Result], sample: Item | UnreadableSample
) -> Result | UnreadableSample:
    return sample if isinstance(sample, UnreadableSample) else function(sample)
