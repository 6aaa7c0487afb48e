"""Units that do not come back: said in one line, taken from who has them, and given up at last."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest

from distq.activity import doing, longest
from distq.engine import local, stalls
from distq.engine.blas import blas_threads, one_blas_thread
from distq.engine.calls import Caller
from distq.engine.local import LocalExecutor
from distq.engine.ray_answers import BoundedRay
from distq.engine.stalls import Stalls, stalled, watched
from distq.errors import ExecutionError
from distq.replica.worker import Arrays, Worker, WorkerSettings


@dataclass(frozen=True)
class Slow:
    """A unit that waits at a file in its first ``times`` attempts."""

    gate: threading.Event
    times: int = 1
    attempts: list[int] = field(default_factory=list)
    key: str = "slow"
    label: str = "calibrate, samples 0-7"

    def run(self, worker: Worker) -> Arrays:
        del worker
        self.attempts.append(1)
        if len(self.attempts) <= self.times:
            with doing("sample photos/3.jpg"):
                self.gate.wait(60)
        return {}


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def test_a_unit_that_takes_too_long_runs_again_on_another_worker(gate) -> None:
    said: list[str] = []
    unit = Slow(gate)
    with LocalExecutor(WorkerSettings(), unit_timeout=0.2, on_event=said.append) as executor:
        assert list(executor.run([unit])) == [(0, {})]
    assert said == ["no answer within --unit-timeout 0.2 s; again: calibrate, samples 0-7"]


def test_after_its_retries_it_is_given_up(gate) -> None:
    said: list[str] = []
    unit = Slow(gate, times=9)
    with (
        LocalExecutor(WorkerSettings(), retries=1, unit_timeout=0.1, on_event=said.append) as executor,
        pytest.raises(
            ExecutionError, match=r"samples 0-7: no answer within --unit-timeout 0\.1 s in each of 2"
        ),
    ):
        list(executor.run([unit]))
    assert (len(unit.attempts), len(said)) == (2, 2)


def test_a_line_says_who_is_at_which_file_for_how_long(gate, monkeypatch) -> None:
    monkeypatch.setattr(local, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(stalls, "NOTICE_SECONDS", 0.05)
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        gate.set()

    with LocalExecutor(WorkerSettings(), on_event=tell) as executor:
        assert list(executor.run([Slow(gate)])) == [(0, {})]
    (line,) = said
    assert line.startswith(
        "this process has not answered for 0 s: calibrate, samples 0-7; for 0 s it has been at "
    )
    assert line.endswith("sample photos/3.jpg")
    assert longest() is None


def test_a_line_comes_less_and_less_often_and_not_for_what_always_takes_long() -> None:
    known = Stalls()
    assert [seconds for seconds in range(200) if known.due(seconds)] == [20, 40, 80, 160]
    known.finished(50)
    assert not known.due(99)
    assert known.due(100)


def test_a_process_that_does_not_answer_is_stopped_or_out_of_reach() -> None:
    line = stalled("the worker on a, process 7", "scores", 21.4, None, answers=False)
    assert line == (
        "the worker on a, process 7 has not answered for 21 s: scores; its process does not answer either: "
        "it is stopped, or its node is out of reach"
    )


def test_long_work_of_the_driver_is_said(monkeypatch) -> None:
    monkeypatch.setattr(stalls, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(stalls, "NOTICE_SECONDS", 0.05)
    said, spoken = [], threading.Event()

    def tell(line: str) -> None:
        said.append(line)
        spoken.set()

    with watched("loading m.onnx", tell), doing("a part of it"):
        assert spoken.wait(10)
    assert said[0] == "loading m.onnx has taken 0 s; for 0 s it has been at a part of it"


def test_a_caller_that_is_stuck_is_replaced(gate) -> None:
    caller = Caller()
    stuck = caller.begin(gate.wait)
    assert not stuck.wait(0.01)
    caller.leave()
    call = caller.begin(lambda: 7)
    assert call.wait(10)
    assert call.result() == 7
    failed = caller.begin(lambda: 1 // 0)
    assert failed.wait(10)
    with pytest.raises(ZeroDivisionError):
        failed.result()


def test_a_ray_that_does_not_answer_is_asked_no_more(gate, monkeypatch) -> None:
    class Module:
        nodes = staticmethod(gate.wait)
        shutdown = staticmethod(gate.wait)

    monkeypatch.setattr("distq.engine.ray_answers._SPEAK_SECONDS", 0.02)
    monkeypatch.setattr("distq.engine.ray_answers._GIVE_UP_SECONDS", 0.05)
    said: list[str] = []
    ray = BoundedRay(Module)
    ray.on_event = said.append
    with pytest.raises(ExecutionError, match=r"Ray does not answer \(ray\.nodes\): .*continue with --resume"):
        ray.nodes()
    assert [line.partition(" (")[0] for line in said] == ["Ray has not answered for 0 s"]
    began = time.monotonic()
    assert not ray.shutdown()
    assert time.monotonic() - began < 5, "it is not waited for again"


def test_a_ray_that_was_still_starting_at_ctrl_c_is_not_waited_for(gate) -> None:
    class Module:
        shutdown = staticmethod(gate.wait)

        @staticmethod
        def init() -> None:
            time.sleep(0.2)  # so that it is waited for
            os.kill(os.getpid(), signal.SIGINT)
            gate.wait()

    ray = BoundedRay(Module)
    with pytest.raises(KeyboardInterrupt):
        ray.init()
    began = time.monotonic()
    assert not ray.shutdown()
    assert time.monotonic() - began < 5


def test_linear_algebra_has_one_thread_until_the_last_unit_has_ended() -> None:
    before = blas_threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() in {1, None}
    second.__exit__(None, None, None)
    assert blas_threads() == before
