"""``--input-config``: a run as SigmaStar's file says."""

from __future__ import annotations

import pytest
from job_helpers import bits, read_json, three_layers, thresholds, write_model, write_photos

import distq
from distq.engine.progress import SilentReporter

INI = """
[INPUT_CONFIG]
inputs='x';
training_input_formats=RGB;
input_formats=RGBA;
quantizations=TRUE;
mean=127.5:127.5:127.5;
std_value=64;
[OUTPUT_CONFIG]
outputs='scores';
dequantizations=TRUE;
"""
YAML = (
    'inputs: {"*": {steps: [{resize: {height: 8, width: 8}}, {color: rgb}, '
    "{mean: [127.5, 127.5, 127.5]}, {std: [64]}]}}"
)


class Heard(SilentReporter):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(name="place")
def network_and_photos(tmp_path):
    write_model(tmp_path / "model.onnx", three_layers())
    write_photos(tmp_path / "photos", 12)
    (tmp_path / "preprocess.yaml").write_text(YAML)
    return tmp_path


def run(place, name, ini=None, **options):
    if ini is not None:
        (place / f"{name}.ini").write_text(ini)
        options["input_config"] = place / f"{name}.ini"
    heard = Heard()
    shared = {"model": place / "model.onnx", "data": place / "photos", "executor": "local"}
    result = distq.calibrate(**shared, out=place / name, reporter=heard, **options)
    return result.out, heard.warnings


def test_its_means_make_inputs_of_images(place):
    by_yaml, _ = run(place, "yaml", preprocess=place / "preprocess.yaml")
    by_ini, warnings = run(place, "ini", INI)
    assert bits(by_ini) == bits(by_yaml)
    assert warnings == []


def test_a_preprocessing_file_goes_before_its_means(place):
    both, _ = run(place, "both", INI.replace("127.5", "0"), preprocess=place / "preprocess.yaml")
    alone, _ = run(place, "alone", preprocess=place / "preprocess.yaml")
    assert bits(both) == bits(alone)


def test_its_tensors_get_16_bits_and_unknown_ones_are_named(place):
    ini = INI + "[CONV_CONFIG]\ntensor_arrays='first,conv2-1';\n"
    out, warnings = run(place, "some", ini)
    assert {name: row["bits"] for name, row in thresholds(out).items()}["first"] == 16
    assert {row["bits"] for name, row in thresholds(out).items() if name != "first"} == {8}
    assert len(warnings) == 1
    assert "tensor_arrays names conv2-1, which is no quantized layer" in warnings[0]
    out, _ = run(place, "all", INI + "[CONV_CONFIG]\ninput_format=ALL_INT16;\n")
    assert {row["bits"] for row in thresholds(out).values()} == {16}


def test_another_models_file_is_refused(place):
    with pytest.raises(distq.PreprocessError, match="inputs are y, the model's are x"):
        run(place, "run", INI.replace("'x'", "'y'"))
    assert not (place / "run").exists()


def test_it_is_a_part_of_the_job(place):
    run(place, "run", INI)
    (place / "run.ini").write_text(INI.replace("64", "32"))
    with pytest.raises(distq.UsageError, match=r"holds another job: its (input_config|preprocess) is"):
        run(place, "run", input_config=place / "run.ini", resume=True)


def test_eval_takes_it_too(place):
    out, _ = run(place, "run", INI)
    found = distq.evaluate(
        out / "model.int8.onnx",
        against=place / "model.onnx",
        data=place / "photos",
        input_config=place / "run.ini",
        executor="local",
    )
    metrics = read_json(out / "metrics.json")["tuning"]["before"]
    assert found.candidate.sqnr_db == pytest.approx(metrics["sqnr_db"])
