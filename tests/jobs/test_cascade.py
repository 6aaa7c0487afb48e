"""Cascades from data to INT8 networks."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from cascade_helpers import FindAndRead, pictures, write_cascade
from job_helpers import bits, read_json, use_watched, write_photos

import distq
from distq.data.recorded import RecordedSource
from distq.errors import InterruptedRun

LOCAL = {"executor": "local", "effort": 1, "samples": 24, "tune_samples": 8, "holdout": 6}


@pytest.fixture(name="cascade")
def find_and_read(tmp_path):
    return FindAndRead(write_cascade(tmp_path))


def recorded(run):
    source = RecordedSource(run / "data", None)
    return [source.arrays(index) for index in range(len(source))]


def test_every_model_is_tuned_on_what_reaches_it(tmp_path, cascade):
    result = cascade.tune((p for p in pictures(30)), out=tmp_path / "run", **LOCAL)
    assert result.order == ("finder", "reader")
    for name, run in result.runs.items():
        assert run.out == tmp_path / "run" / name
        assert (run.tuning.images, run.holdout.images) == (8, 6)
        assert run.holdout.after.sqnr_db > 20
    assert len(recorded(tmp_path / "run" / "finder")) == 30
    assert len(recorded(tmp_path / "run" / "reader")) == 30  # of the 90 crops, evenly over the pictures


def test_upstream_is_int8_or_float(tmp_path, cascade):
    settings = {**LOCAL, "samples": 60}
    cascade.calibrate(pictures(20), out=tmp_path / "int8", **without_search(settings))
    cascade.calibrate(pictures(20), out=tmp_path / "float", upstream="float", **without_search(settings))
    inputs = {name: [a["crops"] for a in recorded(tmp_path / name / "reader")] for name in ("int8", "float")}

    def seen():
        found = []
        cascade.models["reader"].listener = lambda _, samples: found.extend(s["crops"] for s in samples)
        for picture in pictures(20):
            cascade.forward(picture)
        cascade.models["reader"].listener = None
        return found

    np.testing.assert_array_equal(inputs["float"], seen())
    cascade.models["finder"].use(tmp_path / "int8" / "finder" / "model.int8.onnx")
    np.testing.assert_array_equal(inputs["int8"], seen())
    assert bits(tmp_path / "int8" / "finder") == bits(tmp_path / "float" / "finder")


def without_search(settings):
    return {name: value for name, value in settings.items() if name not in {"effort", "tune_samples"}}


def test_forward_runs_the_int8_networks_when_told(tmp_path, cascade):
    picture = pictures(1, seed=9)[0]
    before = cascade.forward(picture)
    cascade.calibrate(pictures(30), out=tmp_path / "run", **without_search(LOCAL))
    np.testing.assert_array_equal(cascade.forward(picture), before)
    cascade.use_int8(tmp_path / "run")
    changed = cascade.forward(picture)
    assert 0 < np.abs(changed - before).max() < 0.1 * np.abs(before).max()
    cascade.use_float()
    np.testing.assert_array_equal(cascade.forward(picture), before)


def test_an_interrupted_cascade_goes_on(tmp_path, cascade, monkeypatch):
    whole, out, ran = tmp_path / "whole", tmp_path / "run", []
    with monkeypatch.context() as patch:
        use_watched(patch, ran)
        cascade.tune(pictures(30), out=whole, **LOCAL)
    count = len(ran)
    ran.clear()
    with monkeypatch.context() as patch:
        use_watched(patch, ran, stop_after=count - 3)  # in the second model
        with pytest.raises(InterruptedRun):
            cascade.tune((p for p in pictures(30)), out=out, **LOCAL)
    with pytest.raises(distq.UsageError, match=r"run exists: give another out, or resume=True"):
        cascade.tune(pictures(30), out=out, **LOCAL)
    with pytest.raises(distq.UsageError, match="holds another cascade: its upstream differs"):
        cascade.tune((), out=out, resume=True, upstream="float", **LOCAL)
    ran.clear()
    with monkeypatch.context() as patch:
        use_watched(patch, ran)
        cascade.tune((), out=out, resume=True, **LOCAL)  # what forward is called with lies in OUT
    assert len(ran) < count / 2
    for name in ("finder", "reader"):
        assert bits(out / name) == bits(whole / name)
    assert read_json(out / "cascade.json") == read_json(whole / "cascade.json")


def test_options_of_one_model_go_before_those_of_all(tmp_path, cascade):
    with pytest.raises(distq.UsageError, match="the cascade has no model 'red': it has reader, finder"):
        cascade.calibrate(pictures(4), out=tmp_path / "run", each={"red": {}})
    each = {"reader": {"method": "max"}}
    cascade.calibrate(pictures(12), out=tmp_path / "run", each=each, executor="local", method="mse")
    jobs = {name: read_json(tmp_path / "run" / name / "run.json")["job"] for name in ("reader", "finder")}
    assert {name: job["method"] for name, job in jobs.items()} == {"reader": "max", "finder": "mse"}


def test_a_model_that_nothing_reaches_is_named(tmp_path, cascade):
    cascade.forward = cascade.models["finder"]
    with pytest.raises(distq.DataError, match="forward calls model reader with nothing on 5 items"):
        cascade.calibrate(pictures(5), out=tmp_path / "run", executor="local")


def test_a_bad_item_leaves_nothing(tmp_path, cascade):
    with pytest.raises(distq.DataError, match="item 1 is of type object, no array"):
        cascade.calibrate([pictures(1)[0], object()], out=tmp_path / "run", executor="local")
    assert not (tmp_path / "run").exists()


def test_photos_reach_forward_decoded_and_texts_as_texts(tmp_path, cascade):
    seen = []
    cascade.forward = seen.append
    with pytest.raises(distq.DataError, match="with nothing"):
        cascade.calibrate(write_photos(tmp_path / "photos", 3), out=tmp_path / "a", executor="local")
    assert [(p.shape, p.dtype) for p in seen] == [((8, 8, 3), np.uint8)] * 3
    seen.clear()
    with pytest.raises(distq.DataError, match="with nothing"):
        cascade.calibrate([tmp_path / "a.png", "b"], out=tmp_path / "b", executor="local")
    assert seen == [str(tmp_path / "a.png"), "b"]
    assert all(type(text) is str for text in seen)


def test_forward_may_run_on_the_workers(tmp_path, cascade):
    settings = {**without_search(LOCAL), "samples": 30, "holdout": 0}
    cascade.calibrate(pictures(20), out=tmp_path / "here", **settings)
    cascade.calibrate(pictures(20), out=tmp_path / "there", forward_on_workers=True, **settings)
    for name in ("finder", "reader"):
        assert bits(tmp_path / "here" / name) == bits(tmp_path / "there" / name)


def test_what_cannot_travel_to_the_workers_is_said(tmp_path, cascade):
    cascade.lock = threading.Lock()
    with pytest.raises(distq.UsageError, match=r"forward cannot travel to the workers: .*lock.*leave"):
        cascade.calibrate(pictures(4), out=tmp_path / "run", forward_on_workers=True, executor="local")


def test_an_error_in_forward_comes_through(tmp_path, cascade):
    cascade.forward = lambda picture: picture.no_such_thing
    with pytest.raises(AttributeError, match="no_such_thing"):
        cascade.calibrate(pictures(4), out=tmp_path / "run", executor="local")
