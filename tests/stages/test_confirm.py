"""What a search found is kept where calibration samples that it did not see confirm it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import depthwise_network, samples, thresholds, write_model

import distq
from distq.engine.journal import Journal
from distq.engine.progress import SilentReporter
from distq.reports.read import read_run
from distq.run.best_so_far import read_best_so_far
from distq.run.results import RunResult
from distq.run.rundir import RunDir
from distq.run.watching import Watcher

pytestmark = pytest.mark.usefixtures("eight_bits")


class Lines(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, and data whose first 16 samples are calmer than half of the others."""
    folder = tmp_path_factory.mktemp("confirm")
    write_model(folder / "model.onnx", depthwise_network())
    calm = np.random.default_rng(0).standard_normal((48, 3, 8, 8)).astype(np.float32)
    for seed in (1, 5):
        loud = np.random.default_rng(seed).choice([1.0, 4.0], size=(32, 1, 1, 1)).astype(np.float32)
        np.save(folder / f"{seed}.npy", np.concatenate([calm[:16], calm[16:] * loud]))
    return folder


@pytest.fixture(autouse=True)
def _start_from_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is better than MAX is left for the search to find."""
    monkeypatch.setattr("distq.stages.start.best_method", lambda _run, form, *_: form)


def tune(
    place: Path, data: str, out: Path, count: int, reporter: SilentReporter, **options: object
) -> RunResult:
    return distq.tune(
        model=place / "model.onnx",
        data=place / data,
        out=out,
        reporter=reporter,
        samples=count,
        tune_samples=16,
        method="max",
        equalize=False,
        executor="local",
        **options,
    )


def notes(run: RunResult) -> list[dict[str, object]]:
    with Journal(run.out / "journal.jsonl") as journal:
        return journal.notes("confirmed")


def test_a_gain_of_the_tuning_samples_alone_is_not_kept(place: Path, tmp_path: Path) -> None:
    shown = Lines()
    found = tune(place, "1.npy", tmp_path / "run", 32, shown, holdout=16)
    (note,) = notes(found)
    assert (note["what"], note["lasts"]) == ("search", False)
    assert any("the search is not kept: on 16 calibration samples" in line for line in shown.lines)
    kept, before = ((found.out / f"thresholds{name}.json").read_bytes() for name in ("", ".calibrated"))
    assert kept == before
    assert found.holdout is not None
    assert found.holdout.after == found.holdout.before
    assert not any(layer.accepted for layer in found.layers), "what is not in the table is not shown"
    choice = read_run(found.out, "a run").choices[-1]
    assert choice.kind == "search, on samples that no choice saw"
    assert (choice.chosen, choice.names) == ("not kept", ("without", "with"))


def test_the_best_so_far_is_without_what_is_not_kept(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("distq.jobs.tune.finish", stop)
    with pytest.raises(distq.InterruptedRun):
        tune(place, "1.npy", tmp_path / "run", 32, SilentReporter(), holdout=16)
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        assert journal.notes("moved")
    best = read_best_so_far(RunDir(tmp_path / "run"))
    assert best.moved == ()
    assert best.table == best.calibrated
    look = Watcher(tmp_path / "run").look()
    assert look.best is not None
    assert look.best.moved == 0


def test_without_enough_samples_that_it_did_not_see_a_search_is_believed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distq.stages.confirm.LEAST", 17)
    found = tune(place, "1.npy", tmp_path / "run", 32, SilentReporter())
    assert not notes(found)
    assert [layer.name for layer in found.layers if layer.accepted] == ["depthwise1"]


def test_what_lasts_is_kept(place: Path, tmp_path: Path) -> None:
    found = tune(place, "5.npy", tmp_path / "run", 32, SilentReporter())
    (note,) = notes(found)
    assert note["lasts"]
    assert [layer.name for layer in found.layers if layer.accepted] == ["pointwise3"]


def test_another_tuners_rules_are_followed_to_the_end(place: Path, tmp_path: Path) -> None:
    found = tune(place, "1.npy", tmp_path / "run", 32, SilentReporter(), strategy="grid", effort=1)
    assert not notes(found)
    assert thresholds(found.out)


@pytest.mark.parametrize("lasts", [True, False])
def test_channels_are_evened_out_where_both_kinds_of_samples_gain(
    tmp_path: Path, lasts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "model.onnx", depthwise_network(spread=(1, 8, 1, 0.2, 1, 3, 1, 1)))
    np.save(tmp_path / "data.npy", samples(40))
    if not lasts:
        monkeypatch.setattr("distq.stages.confirm.diffs_of", lambda *_: [np.ones(4), np.full(4, 1.1)])
    found = distq.tune(
        model=model,
        data=tmp_path / "data.npy",
        out=tmp_path / "run",
        samples=32,
        tune_samples=16,
        method="mse",
        executor="local",
    )
    assert found.holdout is not None
    assert found.holdout.after is not None
    started = [note for note in notes(found) if str(note["what"]).startswith("start (evened out")]
    assert any(note["lasts"] for note in started) == lasts
    assert started
    gain = (found.holdout.after.sqnr_db or 0) - (found.holdout.before.sqnr_db or 0)
    assert gain > 2 if lasts else gain == 0


def test_what_a_coarse_measure_sees_no_difference_in_is_kept(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distq.stages.confirm.diffs_of", lambda *_: [np.zeros(16), np.zeros(16)])
    found = tune(place, "1.npy", tmp_path / "run", 32, SilentReporter())
    assert [note["lasts"] for note in notes(found)] == [True]
    assert any(layer.accepted for layer in found.layers)


def test_a_search_that_gains_no_more_than_chance_is_not_kept(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = np.array([1.0, -0.9] * 8)
    monkeypatch.setattr("distq.stages.confirm.diffs_of", lambda *_: [np.full(16, 9.0), 9.0 - gains])
    shown = Lines()
    found = tune(place, "5.npy", tmp_path / "run", 32, shown)
    assert [note["lasts"] for note in notes(found)] == [False]
    assert not any(layer.accepted for layer in found.layers)
    assert any(line.endswith("from 9 to 8.95, as it may by chance") for line in shown.lines)


def test_channels_stay_as_they_are_where_one_tuning_image_alone_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_gains(_run: object, _stage: str, forms: list[object]) -> list[np.ndarray]:
        return [np.r_[9.0, np.ones(15)], *(np.r_[1.0, np.full(15, 1.1)] for _ in forms[1:])]

    monkeypatch.setattr("distq.stages.start.tuning_diffs", one_gains)
    np.save(tmp_path / "data.npy", samples(32))
    model = write_model(tmp_path / "model.onnx", depthwise_network(spread=(1, 8, 1, 0.2, 1, 3, 1, 1)))
    options = {"samples": 32, "tune_samples": 16, "method": "mse", "executor": "local"}
    found = distq.tune(model=model, data=tmp_path / "data.npy", out=tmp_path / "run", **options)
    with Journal(found.out / "journal.jsonl") as journal:
        choices = journal.notes("channels")
    assert {note["chosen"] for note in choices} == {"as they are"}
