"""In which order, and beside which others, the runs of a sweep begin."""

from __future__ import annotations

import threading

import pytest

from distq.config import CalibrateOptions
from distq.sweeps.matrix import SweepRun
from distq.sweeps.queue import Queue


def run(name: str, target: str = "ort") -> SweepRun:
    options = CalibrateOptions.model_validate({"model": "m.onnx", "out": name, "target": target})
    return SweepRun(name, "calibrate", options, {})


@pytest.fixture
def queue() -> Queue:
    return Queue(
        [[run("a1"), run("a2"), run("a3", "openvino"), run("a4", "openvino")], [run("b1"), run("b2")]]
    )


def names(queue: Queue, count: int) -> list[str]:
    return [queue.take().run.name for _ in range(count)]


def test_one_after_the_other_they_come_in_order(queue):
    taken = []
    while (turn := queue.take()) is not None:
        taken.append((turn.position, turn.network, turn.run.name, queue.over(turn)))
    assert [name for _, _, name, _ in taken] == ["a1", "a2", "a3", "a4", "b1", "b2"]
    assert [position for position, *_ in taken] == list(range(6))
    assert [(number, last) for _, number, _, last in taken] == [
        (0, False), (0, False), (0, False), (0, True), (1, False), (1, True),
    ]  # fmt: skip


def test_what_takes_results_of_a_run_waits_for_it_and_other_networks_go_first(queue):
    first = queue.take()
    assert first.run.name == "a1"
    assert names(queue, 1) == ["b1"]
    queue.over(first)
    assert names(queue, 2) == ["a2", "a3"], "another target observes other tensors"
    waiting: list[object] = []
    thread = threading.Thread(target=lambda: waiting.append(queue.take()))
    thread.start()
    queue.stop()
    thread.join(10)
    assert waiting == [None]


def test_a_thread_that_waits_gets_the_run_that_becomes_free(queue):
    first, _ = queue.take(), queue.take()
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(names(queue, 1)))
    thread.start()
    queue.over(first)
    thread.join(10)
    assert taken == ["a2"]
