"""Data that comes from Python instead of a path."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from job_helpers import SAMPLES, bits, read_json, samples, three_layers, tree, write_model

import distq


@pytest.fixture(name="model")
def three_layer_file(tmp_path):
    return write_model(tmp_path / "model.onnx", three_layers())


LOCAL = {"executor": "local"}


def test_a_generator_gives_what_a_file_gives(tmp_path, model):
    arrays = samples()
    np.save(tmp_path / "data.npy", arrays)
    settings = {"samples": 8, "tune_samples": 4, "effort": 1, **LOCAL}
    distq.tune(model=model, data=tmp_path / "data.npy", out=tmp_path / "file", **settings)
    result = distq.tune(model=model, data=(a for a in arrays), out=tmp_path / "stream", **settings)
    assert bits(tmp_path / "stream") == bits(tmp_path / "file")
    assert result.holdout.images == SAMPLES - 8
    assert read_json(tmp_path / "stream" / "run.json")["data"]["kind"] == "recorded"


def test_an_array_or_arrays_by_input_are_samples(tmp_path, model):
    distq.calibrate(model=model, data=samples(), out=tmp_path / "a", **LOCAL)
    distq.calibrate(model=model, data={"x": samples()}, out=tmp_path / "b", **LOCAL)
    assert bits(tmp_path / "a") == bits(tmp_path / "b")


def test_an_endless_generator_ends(tmp_path, model):
    endless = (samples(1, seed=n)[0] for n in count())
    result = distq.calibrate(model=model, data=endless, out=tmp_path / "run", samples=6, holdout=2, **LOCAL)
    assert (result.tuning.images, result.holdout.images) == (6, 2)
    assert read_json(tmp_path / "run" / "run.json")["data"]["count"] == 8


def test_a_run_is_resumed_with_what_was_recorded(tmp_path, model):
    out = tmp_path / "run"
    distq.calibrate(model=model, data=iter(samples()), out=out, **LOCAL)
    first = bits(out)
    (out / "metrics.json").unlink()
    (out / "model.int8.onnx").unlink()

    def unused():
        raise AssertionError("the samples were recorded already")
        yield

    distq.calibrate(model=model, data=unused(), out=out, resume=True, **LOCAL)
    assert bits(out) == first
    with pytest.raises(distq.UsageError, match=r"run exists: give another out, or resume=True"):
        distq.calibrate(model=model, data=unused(), out=out, **LOCAL)


def test_samples_are_kept_in_another_folder_where_one_is_given(tmp_path, model):
    place = tmp_path / "kept"
    distq.calibrate(model=model, data=iter(samples()), out=tmp_path / "a", data_folder=place, **LOCAL)
    distq.calibrate(model=model, data=place, out=tmp_path / "b", **LOCAL)
    assert bits(tmp_path / "a") == bits(tmp_path / "b")
    with pytest.raises(distq.UsageError, match=r"kept holds recorded samples: give the folder as the data"):
        distq.calibrate(model=model, data=iter(samples()), out=tmp_path / "c", data_folder=place, **LOCAL)
    with pytest.raises(distq.UsageError, match="leave it out with a path"):
        distq.calibrate(model=model, data="x.npy", out=tmp_path / "c", data_folder=place, **LOCAL)


def test_a_bad_item_leaves_nothing(tmp_path, model):
    before = tree(tmp_path)
    with pytest.raises(distq.DataError, match="input 'x' of sample 1 is 3, the model takes 3x8x8"):
        distq.calibrate(model=model, data=[samples(1)[0], np.zeros(3)], out=tmp_path / "run", **LOCAL)
    with pytest.raises(
        distq.UsageError, match=r"data is of type function, which gives no samples .*: call it"
    ):
        distq.calibrate(model=model, data=samples, out=tmp_path / "run", **LOCAL)
    assert tree(tmp_path) == before


def test_what_was_recorded_stays_where_something_else_is_wrong(tmp_path, model):
    out = tmp_path / "run"
    with pytest.raises(distq.DataError, match="50 samples asked for, the data has 12"):
        distq.calibrate(model=model, data=iter(samples()), out=out, samples=50, **LOCAL)
    distq.calibrate(model=model, data=out / "data", out=out, **LOCAL)
    assert (out / "model.int8.onnx").exists()


def test_held_out_samples_may_come_from_python_too(tmp_path, model):
    np.save(tmp_path / "held.npy", samples(seed=5))
    settings = {"model": model, "holdout": 4, **LOCAL}
    by_file = distq.calibrate(
        **settings, data=samples(), holdout_data=tmp_path / "held.npy", out=tmp_path / "a"
    )
    held = iter(samples(seed=5))
    result = distq.calibrate(**settings, data=iter(samples()), holdout_data=held, out=tmp_path / "b")
    assert len([*held]) == SAMPLES - 4
    assert result.holdout == by_file.holdout
    assert (tmp_path / "b" / "holdout" / "recorded.json").exists()


def test_evaluate_and_diff_take_them_too(tmp_path, model):
    out = tmp_path / "run"
    distq.calibrate(model=model, data=samples(), out=out, **LOCAL)
    result = distq.evaluate(out / "model.int8.onnx", against=model, data=iter(samples()), **LOCAL)
    assert result.images == SAMPLES
    found = distq.diff(model=model, table=out / "thresholds.json", data=iter(samples()), **LOCAL)
    assert found.images == SAMPLES
    assert found.network.sqnr_db > 15
