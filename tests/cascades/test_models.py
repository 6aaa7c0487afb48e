"""A model of a cascade, called like a function."""

from __future__ import annotations

import numpy as np
import pytest
from cascade_helpers import CROP, finder, pictures, reader
from job_helpers import write_model

import distq
from distq.cascades.models import CascadeModel, open_models
from distq.errors import DataError, ModelError, UsageError


@pytest.fixture
def heard():
    return []


def model(tmp_path, proto, heard, name="net"):
    found = CascadeModel(name, write_model(tmp_path / f"{name}.onnx", proto))
    found.listener = lambda _, samples: heard.append(samples)
    return found


def crops(count):
    return np.random.default_rng(0).standard_normal((count, 3, CROP, CROP)).astype(np.float32)


def test_every_row_of_a_call_is_a_sample(tmp_path, heard):
    net = model(tmp_path, reader(), heard)
    (scores,) = net(crops(5))
    assert scores.shape == (5, 4)
    assert len(heard[0]) == 5
    np.testing.assert_array_equal(heard[0][3]["crops"], crops(5)[3:4])


def test_a_single_sample_needs_no_batch(tmp_path, heard):
    net = model(tmp_path, reader(), heard)
    np.testing.assert_allclose(net(crops(5))[0][:1], net({"crops": crops(5)[0]})[0], rtol=1e-5)
    assert [len(samples) for samples in heard] == [5, 1]


def test_no_rows_give_no_rows_and_are_no_samples(tmp_path, heard):
    net = model(tmp_path, reader(), heard)
    (scores,) = net(crops(0))
    assert (scores.shape, scores.dtype, heard) == ((0, 4), np.float32, [])


def test_a_batch_of_one_runs_once_for_each_row(tmp_path, heard):
    net = model(tmp_path, finder(), heard)
    heat, kept = net(pictures(3))
    assert (heat.shape[0], kept.shape[:2], len(heard[0])) == (3, (3, 4), 3)
    np.testing.assert_array_equal(heat[1:2], net(pictures(3)[1])[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda net: net(np.zeros((1, 3, 7, 7))),
            r"sample 0 in a call of net is 3x7x7, the model takes 3x8x8",
        ),
        (lambda net: net(), r"model net is called with 0 arrays: its inputs are crops"),
        (lambda net: net({"x": 1}), r"model net is called with x: its inputs are crops"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, heard, call, message):
    with pytest.raises(DataError, match=message):
        call(model(tmp_path, reader(), heard))


def test_models_are_found_by_name_and_position(tmp_path):
    paths = [write_model(tmp_path / f"{name}.onnx", reader()) for name in "ab"]
    models = open_models(paths)
    assert models.names == ("a", "b")
    assert models["b"] is models[1] is models[-1]
    with pytest.raises(UsageError, match="the cascade has no model 'c': it has a, b"):
        models["c"]
    same = open_models([paths[0], paths[0]])
    assert same.names == ("0-a", "1-a")
    with pytest.raises(UsageError, match=r"model name '\.\./x' cannot be that of a folder"):
        open_models({"../x": paths[0]})
    with pytest.raises(UsageError, match="model name 'inputs' cannot be that of a folder"):
        open_models({"inputs": paths[0]})
    with pytest.raises(UsageError, match="one model or several"):
        open_models([])


def test_an_int8_network_of_another_model_is_refused(tmp_path, heard):
    net, other = model(tmp_path, reader(), heard), write_model(tmp_path / "other.onnx", finder())
    with pytest.raises(ModelError, match=r"other\.onnx is not made from .*net\.onnx"):
        net.use(other)


def test_a_cascade_needs_a_forward(tmp_path):
    cascade = distq.Cascade([write_model(tmp_path / "a.onnx", reader())])
    with pytest.raises(UsageError, match=r"Cascade has no forward\(self, item\)"):
        cascade.forward(1)
