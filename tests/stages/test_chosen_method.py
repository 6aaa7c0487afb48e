"""``--method auto``: thresholds of the method that is closest to float on calibration samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from job_helpers import bits, calibrate, depthwise_network, read_json, samples, thresholds, write_model
from replica_helpers import Bench

import distq
from distq.cli.app import invoke
from distq.engine.journal import Journal
from distq.errors import UsageError
from distq.run.results import RunResult
from distq.stages import method, sensitivity
from distq.stages.fused import with_nearest_weights
from distq.stages.method import METHODS
from distq.stages.sensitivity import Variants


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for which methods differ."""
    folder = tmp_path_factory.mktemp("wide")
    write_model(folder / "model.onnx", depthwise_network())
    np.save(folder / "data.npy", samples(24))
    return folder


def run(wide: Path, out: Path, **options: object) -> RunResult:
    return calibrate(wide / "model.onnx", wide / "data.npy", out, samples=16, **options)


def test_it_is_as_close_to_float_as_the_best_of_the_methods(wide: Path, tmp_path: Path) -> None:
    chosen = run(wide, tmp_path / "auto").tuning.before.nmse
    by_method = {name: run(wide, tmp_path / name, method=name).tuning.before.nmse for name in METHODS}
    assert max(by_method.values()) > 1.2 * min(by_method.values()), "else the choice shows nothing"
    assert chosen <= 1.1 * min(by_method.values())


def test_the_choice_is_noted_and_each_row_names_its_method(wide: Path, tmp_path: Path) -> None:
    found = run(wide, tmp_path / "run")
    with Journal(found.out / "journal.jsonl") as journal:
        (note,) = journal.notes("method")
    assert note["names"][0] == "mse"
    assert note["chosen"] == note["names"][int(note["diffs"][1] < note["diffs"][0])]
    assert {row["method"] for row in thresholds(found.out).values()} <= {*METHODS}
    assert read_json(found.out / "run.json")["options"]["method"] == "auto"


def test_a_search_starts_from_what_calibrate_makes_of_the_same_samples(wide: Path, tmp_path: Path) -> None:
    """Methods are compared on all of them, however few are tuned on."""
    run(wide, tmp_path / "calibrated")
    few = {"samples": 16, "tune_samples": 4, "effort": 1, "executor": "local"}
    distq.tune(model=wide / "model.onnx", data=wide / "data.npy", out=tmp_path / "tuned", **few)
    assert bits(tmp_path / "tuned") == bits(tmp_path / "calibrated")
    notes = []
    for name in ("tuned", "calibrated"):
        with Journal(tmp_path / name / "journal.jsonl") as journal:
            notes.append(journal.notes("method"))
    assert notes[0] == notes[1]


def test_where_nothing_can_be_compared_it_is_mse(wide: Path, tmp_path: Path) -> None:
    kept = run(wide, tmp_path / "run").out / "distributions.npz"
    calibrate(wide / "model.onnx", None, tmp_path / "alone", load_dist=kept)
    calibrate(wide / "model.onnx", None, tmp_path / "mse", load_dist=kept, method="mse")
    assert thresholds(tmp_path / "alone") == thresholds(tmp_path / "mse")


def test_a_run_keeps_the_method_it_began_with(wide: Path, tmp_path: Path) -> None:
    """Where an earlier version had another default, the same command continues the run."""
    found = run(wide, tmp_path / "run", method="kl")
    assert run(wide, tmp_path / "run", resume=True).holdout == found.holdout
    with pytest.raises(UsageError, match="its method"):
        run(wide, tmp_path / "run", resume=True, method="mse")


def test_what_a_search_starts_from_is_compared_alike_whatever_method_is_named(
    wide: Path, tmp_path: Path
) -> None:
    found = []
    for name in ("kl", "max", "mse"):
        options = {"samples": 16, "tune_samples": 16, "effort": 1, "method": name, "executor": "local"}
        distq.tune(model=wide / "model.onnx", data=wide / "data.npy", out=tmp_path / name, **options)
        with Journal(tmp_path / name / "journal.jsonl") as journal:
            (note,) = journal.notes("start")
        assert note["names"][0] == name
        found.append(dict(zip(note["names"], note["diffs"], strict=True)))
    assert found[0] == found[1] == found[2]


def test_correction_is_left_out_where_the_network_is_far_closer_to_float_without_it(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "far_better", lambda *_: True)
    found = run(wide, tmp_path / "run")
    with Journal(found.out / "journal.jsonl") as journal:
        (note,) = journal.notes("method")
    assert not note["corrected"]
    plain = run(wide, tmp_path / "plain", method=note["chosen"], bias_correction=False)
    assert bits(found.out) == bits(plain.out)


def test_auto_goes_on_without_correction_and_its_job_file_says_so(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(method, "far_better", lambda *_: True)
        found = distq.auto(
            model=wide / "model.onnx",
            data=wide / "data.npy",
            out=tmp_path / "run",
            samples=16,
            goal="sqnr:10",
            executor="local",
        )
    assert yaml.safe_load((found.out / "chosen.yaml").read_text())["bias_correction"] is False
    assert invoke(["run", str(found.out / "chosen.yaml"), "--quiet"]) == 0
    assert bits(found.out / "chosen") == bits(found.out)


@pytest.mark.parametrize(
    ("images", "plain", "far"),
    [(8, 0.4, True), (8, 0.6, False), (4, 0.1, False), (24, 0.49, True)],
)
def test_correction_harms_where_nearly_every_image_says_so(images: int, plain: float, far: bool) -> None:
    corrected = np.ones(images)
    assert method.far_better(plain * corrected, corrected) is far
    one_image_decides = np.concatenate([np.full(images - 1, 1.01), [0.0]])
    corrected[-1] = 100.0
    assert not method.far_better(one_image_decides, corrected)


def test_what_was_not_corrected_has_no_correction_to_take_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, "many branches")
    run = bench.opened()
    plain = with_nearest_weights(run, bench.form)
    monkeypatch.setattr(sensitivity, "with_shifts", lambda *_: pytest.fail("nothing was taken back"))
    variants = Variants(run, replace(plain, means=None), 2)
    part = variants.part(plain.plan.by_tensor)
    assert not part.biases
    assert variants.errors("test", [part])
