"""What a reader of the page relies on."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from job_helpers import (
    Reference,
    calibrate,
    read_json,
    three_layers,
    thresholds,
    tree,
    write_model,
    write_photos,
)
from report_helpers import Page, at

import distq
from distq.cli.app import invoke
from distq.engine.journal import Journal
from distq.errors import FileFormatError, UsageError
from distq.reports.facts import TensorFacts
from distq.reports.page import page as make_page
from distq.reports.read import read_run
from distq.run.results import RunResult


def test_the_numbers_are_those_of_the_metrics(page: Path, tuned: RunResult) -> None:
    metrics, shown = read_json(tuned.out / "metrics.json"), Page(page.read_text()).metrics
    for stage in ("before", "after"):
        for part in ("holdout", "tuning"):
            assert {f"{part}/{stage}/{name}" for name in ("sqnr_db", "nmse", "cosine")} <= shown.keys()
    assert {"cost/seconds", "cost/int8_forwards", "curve/0/sqnr_db", "holdout/images"} <= shown.keys()
    assert any(place.startswith("holdout/measures/1/after/") for place in shown)
    assert {f"speed/{model}/median_ms" for model in ("against", "candidate")} | {
        "speed/ratio"
    } <= shown.keys()
    for place, values in shown.items():
        assert {float(value) for value in values} == {float(at(metrics, place))}, place


@pytest.mark.parametrize(("over_largest", "named"), [(0.5, True), (0.999, False)])
def test_values_at_the_bound_of_a_relu6_are_not_called_clipped(
    tuned: RunResult, over_largest: float, *, named: bool
) -> None:
    run = read_run(tuned.out, "a run")
    found = {"clipped": 0.02, "over_largest": over_largest}
    tensors = [dataclasses.replace(t, fit=t.fit and dataclasses.replace(t.fit, **found)) for t in run.tensors]
    html = make_page([dataclasses.replace(run, tensors=tuple(tensors))])
    assert ("of the values are clipped" in html) == named


def test_it_needs_no_other_file(page: Path) -> None:
    html = page.read_text()
    found = Page(html)
    assert found.outside == []
    assert all(link.startswith("#") for link in found.links)
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_every_link_leads_somewhere(page: Path) -> None:
    found = Page(page.read_text())
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)


def test_every_tensor_can_be_opened(page: Path, tuned: RunResult) -> None:
    text = Page(page.read_text()).text
    for name in thresholds(tuned.out):
        assert text.count(name) >= 2, name  # in the table, and by itself


def test_names_are_text_not_markup(tmp_path: Path, data: Path) -> None:
    proto, name = three_layers(), "<script>alert(1)</script>&\"'"
    for node in proto.graph.node:
        node.input[:] = [name if one == "first" else one for one in node.input]
        node.output[:] = [name if one == "first" else one for one in node.output]
    calibrate(write_model(tmp_path / "model.onnx", proto), data, tmp_path / "run", samples=4, holdout=0)
    distq.report(tmp_path / "run", out=tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_reading_changes_nothing(tuned: RunResult, tmp_path: Path) -> None:
    before = tree(tuned.out)
    distq.report([tuned.out], out=tmp_path / "page.html")
    assert tree(tuned.out) == before


def test_several_runs_stand_side_by_side(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    other = calibrate(model, data, tmp_path / "other", samples=8, method="max")
    result = distq.report([calibrated.out, other.out], out=tmp_path / "page.html")
    assert result.runs == (calibrated.out, other.out)
    found = Page((tmp_path / "page.html").read_text())
    shown = found.metrics["holdout/before/sqnr_db"]
    assert [float(value) for value in shown] == [
        run.holdout.before.sqnr_db for run in (calibrated, other) if run.holdout
    ]
    assert found.differs > 0
    assert "options.method" in found.text


def test_equal_runs_have_no_difference_marked_in_their_tensors(calibrated: RunResult, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(calibrated.out, copy)
    one = read_run(calibrated.out, "a")
    html = make_page([one, dataclasses.replace(read_run(copy, "b"), path=one.path)])
    assert Page(html).differs == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "metrics.json").unlink(), "not finished"),
        (lambda run: (run / "run.json").unlink(), "not a run"),
        (lambda run: (run / "run.json").write_text("{"), "run.json is damaged"),
        (lambda run: (run / "distributions.npz").write_bytes(b"PK"), "distributions.npz"),
        (lambda run: (run / "thresholds.json").write_text("{}"), "thresholds.json"),
    ],
)
def test_a_run_that_cannot_be_shown_gets_one_line(
    damage: object, said: str, calibrated: RunResult, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(calibrated.out, run)
    assert callable(damage)
    damage(run)
    assert invoke(["report", str(run), "--out", str(tmp_path / "page.html"), "--quiet"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "page.html").exists()


def test_a_bad_place_is_named(calibrated: RunResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--out"):
        distq.report(calibrated.out, out=tmp_path / "missing" / "page.html")


def test_runs_of_an_earlier_version_are_shown(tmp_path: Path) -> None:
    stored = Path(__file__).parents[1] / "run" / "data" / "0.1.0.zip"
    shutil.unpack_archive(stored, tmp_path)
    distq.report(tmp_path / "finished", out=tmp_path / "page.html")
    found = Page((tmp_path / "page.html").read_text())
    metrics = read_json(tmp_path / "finished" / "metrics.json")
    assert float(found.metrics["holdout/after/nmse"][0]) == metrics["holdout"]["after"]["nmse"]


def test_thresholds_without_a_model_are_shown(model: Path, calibrated: RunResult, tmp_path: Path) -> None:
    calibrate(model, None, tmp_path / "run", load_dist=calibrated.out / "distributions.npz", report=True)
    assert "no model was made" in Page((tmp_path / "run" / "report.html").read_text()).text


def test_the_page_of_200_tensors_is_below_2_mb(tuned: RunResult) -> None:
    run = read_run(tuned.out, "run")
    whole = [t for t in run.tensors if t.methods and t.search] * 200
    many = tuple(_renamed(tensor, f"{tensor.name}{i}") for i, tensor in enumerate(whole[:200]))
    layers = tuple(dataclasses.replace(run.layers[0], ranges=np.arange(1.0, 513)) for _ in range(100))
    result = run.result.model_copy(update={"float_layers": ()})
    assert len(many) == 200
    html = make_page([dataclasses.replace(run, tensors=many, layers=layers, result=result)])
    assert len(html.encode()) < 2_000_000


def test_the_report_option_is_no_part_of_what_a_run_is(model: Path, data: Path, tmp_path: Path) -> None:
    first = calibrate(model, data, tmp_path / "run", samples=4, holdout=2)
    again = calibrate(model, data, tmp_path / "run", samples=4, holdout=2, resume=True, report=True)
    assert again.out / "report.html" in again.files
    assert again.holdout == first.holdout
    assert math.isfinite(float(Page((again.out / "report.html").read_text()).metrics["cost/seconds"][0]))


def test_a_journal_is_read_while_another_process_has_it_open(calibrated: RunResult, tmp_path: Path) -> None:
    with Journal(calibrated.out / "journal.jsonl"):
        distq.report(calibrated.out, out=tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()


def test_a_sweep_has_a_page_that_leads_to_those_of_its_runs(content: dict[str, Any]) -> None:
    result = distq.sweep(content, report=True)
    page = result.out / "report.html"
    assert page in result.files
    links = [unquote(link) for link in Page(page.read_text()).links if not link.startswith("#")]
    assert sorted(links) == sorted(f"{row.name}/report.html" for row in result.rows)
    assert all((result.out / link).is_file() for link in links)
    again = distq.report(result.out, out=result.out.parent / "page.html")
    assert 1 <= len(again.runs) <= len(result.rows)
    shown = [unquote(link) for link in Page(again.out.read_text()).links if not link.startswith("#")]
    assert sorted(shown) == sorted(f"{result.out.name}/{link}" for link in links)


@pytest.mark.parametrize("kind", ["progressive", "sensitivity"])
def test_what_diff_measured_is_shown(
    kind: str, model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    found = distq.diff(
        model=model,
        table=calibrated.out / "thresholds.json",
        data=data,
        samples=4,
        tune_samples=2,
        executor="local",
        **{kind: True},
    )
    measured = tmp_path / "diff.json"
    measured.write_text(found.model_dump_json())
    distq.report(calibrated.out, out=tmp_path / "page.html", measured=[measured])
    text = Page((tmp_path / "page.html").read_text()).text
    assert ("How the error grows" in text) == bool(found.steps)
    assert ("What each tensor costs" in text) == bool(found.tensors)


def test_the_worst_samples_are_shown_with_pictures_unless_they_are_not_wanted(
    model: Path, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 9)
    run = calibrate(model, photos, tmp_path / "run", samples=4)
    facts = read_run(run.out, "run")
    assert facts.held_out is not None
    error = facts.held_out.statistics["before"].error.sum(axis=1)
    names = [f"{4 + i}.png" for i in np.argsort(-error)]
    assert [sample.look.name for sample in facts.worst] == names
    assert sum(sample.share for sample in facts.worst) == pytest.approx(1)
    assert make_page([facts]).count("<img") == len(names)
    assert "<img" not in make_page([read_run(run.out, "run", images=False)])


def test_samples_of_a_shuffled_run_are_told_apart(model: Path, data: Path, tmp_path: Path) -> None:
    run = calibrate(model, data, tmp_path / "run", samples=4, shuffle=True)
    facts = read_run(run.out, "run")
    assert facts.held_out is not None
    assert facts.held_out.samples is not None
    float_, int8 = Reference(model), Reference(run.out / "model.int8.onnx")
    values = np.load(data)
    for place, index in enumerate(facts.held_out.samples):
        error = float(((int8(values[index]) - float_(values[index])) ** 2).sum())
        assert facts.held_out.statistics["before"].error[place].sum() == pytest.approx(error, rel=1e-4)


def test_what_diff_did_not_print_is_refused(calibrated: RunResult, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="distq diff"):
        distq.report(calibrated.out, out=tmp_path / "page.html", measured=[calibrated.out / "run.json"])


def _renamed(tensor: TensorFacts, name: str) -> TensorFacts:
    assert tensor.search is not None
    searched = tensor.search.model_copy(update={"name": name})
    return dataclasses.replace(tensor, name=name, search=searched)


def test_a_run_of_auto_shows_what_it_tried(model: Path, data: Path, tmp_path: Path) -> None:
    options = {"samples": 8, "tune_samples": 4, "executor": "local", "report": True}
    result = distq.auto(model=model, data=data, out=tmp_path / "run", goal="sqnr:20", **options)
    assert result.auto is not None
    found = Page((tmp_path / "run" / "report.html").read_text())
    assert "Goal sqnr:20: reached" in found.text
    metrics = read_json(tmp_path / "run" / "metrics.json")
    for place, values in found.metrics.items():
        assert [float(value) for value in values] == [float(at(metrics, place))] * len(values), place
    assert "distq auto" in found.text


@pytest.mark.parametrize("name", ["thresholds.json", "list.txt"])
def test_a_page_takes_the_place_of_pages_alone(calibrated: RunResult, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((calibrated.out / "thresholds.json").read_bytes())
    with pytest.raises(UsageError, match="is no page of distq"):
        distq.report(calibrated.out, out=tmp_path / name)
    assert (tmp_path / name).read_bytes() == (calibrated.out / "thresholds.json").read_bytes()
    with pytest.raises(UsageError, match="give a name such as page"):
        distq.report(calibrated.out, out=tmp_path / "page.txt")
    for _ in range(2):
        distq.report(calibrated.out, out=tmp_path / "page.html")
