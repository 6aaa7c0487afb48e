"""How long a search takes, told before it and while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from job_helpers import samples
from wound_clock import Clock, Winding

from distq.config import AutoOptions, TuneOptions
from distq.engine.progress import SilentReporter, about
from distq.jobs.tune import tune as job
from distq.options import make_options
from distq.replica.evaluate import Evaluate
from distq.replica.float32 import Observe
from distq.run.pace import Pace
from distq.run.time_limit import TimeLimit
from distq.stages.forecast import Forecast, tell_networks


class Unit:
    """Of so many samples."""

    def __init__(self, count: int, models: int = 0) -> None:
        self.indices = range(count)
        self.models = ("m",) * models


class Told(SilentReporter):
    """Keeps lines, and the seconds that are left."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.lefts: list[float] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def left(self, seconds: float) -> None:
        self.lefts.append(seconds)


def test_the_first_units_open_the_models_and_the_rest_tell_the_speed() -> None:
    pace = Pace()
    pace.measured([Unit(4)] * 5, 1, first=10.0, whole=18.0)  # type: ignore[list-item]  # what is looked at
    speed = pace.of(Unit)
    assert speed.each == pytest.approx(8 / 16)
    assert speed.start == pytest.approx(10 - 4 * speed.each)
    assert speed.seconds(100) == pytest.approx(speed.start + 50)


def test_a_forward_is_of_one_network_and_one_unit_tells_no_start() -> None:
    pace = Pace()
    pace.measured([Unit(4, models=2)], 1, first=6.0, whole=6.0)  # type: ignore[list-item]  # what is looked at
    assert pace.of(Unit).each == pytest.approx(6 / 12)
    assert pace.of(Unit).start == 0
    assert pace.of(Evaluate, Observe, Unit) == pace.of(Unit)
    assert pace.of(Evaluate).each == 0


def test_what_is_left_follows_what_the_tensors_took() -> None:
    found = Forecast([6.0, 3.0, 1.0], 10.0)
    assert found.left(0, 0.0) == pytest.approx(10)
    assert found.left(1, 6.0) == pytest.approx(4)
    assert 4 < found.left(1, 12.0) < 8
    assert found.left(3, 12.0) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (8, "8 s"), (43, "45 s"), (240, "4 min"), (5300, "88 min"), (9000, "2.5 h")],
)
def test_a_rough_time_has_few_digits(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.fixture
def tune(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    np.save(tmp_path / "many.npy", samples(24))

    def tuned(**options: Any) -> Told:
        clock, told = Clock(), Told()
        monkeypatch.setattr("distq.run.open.open_executor", lambda *_: Winding(clock))
        files = {"model": model, "data": tmp_path / "many.npy", "out": tmp_path / "run"}
        given = {"samples": 16, "tune_samples": 8, "equalize": False, "method": "mse", **options}
        job(make_options(TuneOptions, {**files, **given}), told, clock=clock)
        return told

    return tuned


def test_a_search_is_told_before_it_begins_and_as_it_goes_on(tune: Callable[..., Told]) -> None:
    told = tune(effort=2)
    (rough,) = [line for line in told.lines if line.startswith("in all about ")]
    (line,) = [line for line in told.lines if line.startswith("search: about ")]
    assert " 3 tensors, " in line
    assert line.endswith(" to the end")
    assert told.lines.index(rough) < told.lines.index(line)
    assert len(told.lefts) == 3
    assert told.lefts == sorted(told.lefts, reverse=True)
    assert told.lefts[-1] == 0


def test_it_is_told_what_of_a_search_the_time_leaves(tune: Callable[..., Told]) -> None:
    told = tune(effort=5, time="40s")
    (line,) = [line for line in told.lines if line.startswith("search: about ")]
    assert "; --time 40s leaves about " in line


@pytest.mark.parametrize("options", [{"effort": 1}, {"strategy": "bitmain"}])
def test_of_a_search_without_candidates_or_end_nothing_is_told(
    tune: Callable[..., Told], options: dict[str, Any]
) -> None:
    assert not any(line.startswith("search: about") for line in tune(**options).lines)


@pytest.mark.parametrize(
    ("limit", "ending"),
    [(None, " at most"), ("10m", " at most"), ("4m", " at most; --time 4m leaves about 3 min for them")],
)
def test_auto_says_what_a_network_takes_and_how_many_there_may_be(limit: str | None, ending: str) -> None:
    told, pace = Told(), Pace(correct=10.0)
    pace.measured([Unit(4)], 1, first=2.0, whole=2.0)  # type: ignore[list-item]  # what is looked at
    pace._speeds["Evaluate"] = pace.of(Unit)
    assert pace.of(Evaluate).each == 0.5
    run: Any = SimpleNamespace(
        options=AutoOptions.model_construct(time=limit),
        reporter=told,
        pace=pace,
        tuning=range(10),
        time=TimeLimit(limit, lambda: 60.0),
    )
    tell_networks(run, 20, 12, 3)
    line = " ".join(text.strip() for text in told.lines)
    assert line == f"a network takes about 20 s: about 2 min for 5 of them, 5 min for 15{ending}"
    told.lines.clear()
    tell_networks(run, 0, 12, 3)
    assert told.lines == []
