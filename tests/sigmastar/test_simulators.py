"""A model as calibrator_custom has it."""

from __future__ import annotations

import numpy as np
import pytest
from job_helpers import Reference, samples, three_layers, write_model

import distq
from distq.sigmastar import calibrator, fixed_simulator, float_simulator

INI = "[INPUT_CONFIG]\ninputs='x';\ninput_formats=RGB;\n[OUTPUT_CONFIG]\noutputs=scores;\n"


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx", three_layers())


@pytest.fixture
def net(model, tmp_path):
    (tmp_path / "input_config.ini").write_text(INI + "[CONV_CONFIG]\ntensor_arrays=first,conv2-1;\n")
    return calibrator(str(model), str(tmp_path / "input_config.ini"), work_mode=None, show_log=False)


def test_details_of_inputs_and_outputs(net):
    (taken,), (given,) = net.get_input_details(), net.get_output_details()
    assert (taken["index"], taken["name"], taken["shape"].tolist()) == (0, "x", [1, 3, 8, 8])
    assert (given["name"], given["shape"].tolist(), given["dtype"]) == ("scores", [1, 6], np.float32)


def test_it_runs(net, model):
    sample = samples(1)[0]
    net.set_input(0, sample[None])
    net.invoke()
    np.testing.assert_allclose(net.get_output(0), Reference(model)(sample), rtol=1e-5, atol=1e-6)


def test_nhwc_is_turned_and_said(net, model):
    sample = samples(1)[0]
    with pytest.warns(UserWarning, match=r"'x' is given as \(1, H, W, C\) and turned into \(1, C, H, W\)"):
        net.set_input(0, sample[None].transpose(0, 2, 3, 1))
    net.invoke()
    np.testing.assert_allclose(net.get_output(0), Reference(model)(sample), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda net: net.set_input(1, np.zeros(1)), "has 1 inputs, none at 1"),
        (lambda net: net.set_input("x", np.zeros(1)), "has 1 inputs, none at 'x'"),
        (lambda net: net.set_input(0, np.zeros((1, 3, 8, 8))), "takes float32, not float64: convert"),
        (lambda net: net.set_input(0, np.zeros((1, 3, 9, 8), np.float32)), "takes 1x3x8x8, not 1x3x9x8"),
        (lambda net: net.invoke(), "input 'x' is not set: call set_input before invoke"),
        (lambda net: net.get_output(0), "has no outputs yet: call invoke before get_output"),
    ],
)
def test_wrong_use_is_a_value_error_and_an_error_of_distq(net, wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        wrong(net)
    assert isinstance(error.value, distq.UsageError)


def test_an_output_that_is_not_there(net):
    net.set_input(0, samples(1))
    net.invoke()
    with pytest.raises(ValueError, match="has 1 outputs, none at 1"):
        net.get_output(1)


def test_details_of_tensors_say_what_they_will_be(net, model):
    details = {detail["name"]: detail for detail in net.get_tensor_details()}
    assert details["first"]["shape"].tolist() == [1, 4, 8, 8]
    assert [details[name]["qtype"] for name in ("x", "first", "second")] == ["UINT8", "INT16", "UINT8"]
    floats = float_simulator(model).get_tensor_details()
    assert {(detail["dtype"], detail["qtype"]) for detail in floats} == {("FLOAT32", "FLOAT32")}


def test_an_ini_of_another_model_is_refused(model, tmp_path):
    (tmp_path / "other.ini").write_text(INI.replace("'x'", "data"))
    with pytest.raises(distq.PreprocessError, match="inputs are data, the model's are x"):
        calibrator(model, tmp_path / "other.ini")


def test_the_fixed_model_has_ranges_and_scales(model, tmp_path):
    out = distq.calibrate(model=model, data=samples(), out=tmp_path / "run", executor="local").out
    fixed = fixed_simulator(out / "model.int8.onnx")
    details = {detail["name"]: detail for detail in fixed.get_tensor_details()}
    ((scale, zero),) = details["first"]["quantization"]
    assert details["first"]["dtype"] == "UINT8"
    assert (details["first"]["min"], zero) == ([0], 0)
    assert details["first"]["max"][0] == pytest.approx(scale * 255)
    fixed.set_input(0, samples(1))
    fixed.invoke()
    assert np.abs(fixed.get_output(0) - Reference(model)(samples(1)[0])).max() < 0.1
    with pytest.raises(ValueError, match="has no table beside it"):
        fixed_simulator(model)
