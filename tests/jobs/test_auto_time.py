"""``auto --time``: it ends in time, also within a network or while layers are timed, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budget_networks import one_bad_layer, one_wide_tensor
from job_helpers import bits, samples, write_model
from wound_clock import Clock, Winding

from distq.config import AutoOptions
from distq.engine.progress import SilentReporter
from distq.jobs.auto import auto as job
from distq.options import make_options
from distq.replica.timing import Timing
from distq.replica.worker import Arrays, Worker
from distq.run.results import RunResult

pytestmark = pytest.mark.usefixtures("eight_bits")

Auto = Callable[..., tuple[RunResult, float]]


@pytest.fixture
def auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auto:
    """Find a network in ``run``, or another folder; gives the result, and the seconds by units' clock."""
    model = write_model(tmp_path / "bad.onnx", one_bad_layer())
    np.save(tmp_path / "data.npy", samples(24))

    def found(time: str | None, out: str = "run", **options: Any) -> tuple[RunResult, float]:
        clock = Clock()
        monkeypatch.setattr("distq.run.open.open_executor", lambda *_: Winding(clock))
        given = {"samples": 16, "method": "max", "equalize": False, "effort": 1, "goal": "sqnr:30", **options}
        files = {"model": model, "data": tmp_path / "data.npy", "out": tmp_path / out}
        options_of_job = make_options(AutoOptions, {**files, "time": time, **given})
        return job(options_of_job, SilentReporter(), clock=clock), clock.now

    return found


def test_it_ends_within_a_network_and_goes_on(auto: Auto) -> None:
    whole, seconds = auto(None, "whole")
    limit = seconds - 10
    found, took = auto(f"{limit}s")
    assert took <= limit
    assert found.auto is not None
    assert whole.auto is not None
    assert not found.auto.complete
    assert len(found.auto.tried) < len(whole.auto.tried)
    assert found.ended is not None
    assert found.ended.left_out == ("networks that were not tried",)
    more, _ = auto(None, resume=True)
    assert more.auto == whole.auto
    assert bits(more.out) == bits(whole.out)


@pytest.mark.parametrize("less", [2, 11])
def test_a_searched_network_that_there_is_no_time_to_make_again_is_not_the_answer(
    auto: Auto, less: int, tmp_path: Path
) -> None:
    """What is tried shares work; the answer is made again without, as its job file makes it."""
    model = write_model(tmp_path / "wide.onnx", one_wide_tensor())
    options = {"model": model, "effort": 3, "equalize": None, "goal": "sqnr:150"}
    whole, seconds = auto(None, "whole", **options)
    assert whole.auto is not None
    assert any(trial.name.endswith("searched") for trial in whole.auto.tried)
    found, _ = auto(f"{seconds - less}s", **options)
    assert found.auto is not None
    assert not found.auto.complete
    assert (found.out / "model.int8.onnx").exists()


def test_it_ends_while_layers_are_timed(auto: Auto, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def run(unit: Timing, worker: Worker) -> Arrays:
        del worker
        timed.append(unit)
        return {"seconds": np.ones((len(unit.models), unit.rounds))}

    monkeypatch.setattr(Timing, "run", run)
    whole, seconds = auto(None, "whole", cost="latency", goal="sqnr:0.5")
    every = len(timed)
    assert whole.auto is not None
    limit = seconds + 1
    found, took = auto(f"{limit}s", cost="latency", goal="sqnr:0.5")
    assert took <= limit
    assert 0 < len(timed) - every < every
    assert found.auto is not None
    assert found.auto.tried == whole.auto.tried
    assert found.ended is not None
    assert not found.auto.complete
