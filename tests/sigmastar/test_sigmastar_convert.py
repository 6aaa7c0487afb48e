"""SIM_Calibrator: the models that forward runs become INT8."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cascade_helpers import CROP, pictures, reader, write_cascade
from job_helpers import bits, thresholds, write_model
from onnxruntime import InferenceSession

import distq
from distq.engine.journal_read import read_records
from distq.engine.progress import SilentReporter
from distq.graph import weight_files
from distq.sigmastar import SIM_Calibrator, SIM_Simulator, calibrator, fixed_simulator, float_simulator
from distq.sigmastar.convert import LEVELS

LOCAL = {"executor": "local", "samples": 12, "holdout": 4}


def ini(folder, name, inputs):
    path = folder / f"{name}.ini"
    path.write_text(f"[INPUT_CONFIG]\ninputs={inputs};\ninput_formats=RGB;\n")
    return path


def forward(net, x):
    """The reader reads the corner of what the finder keeps."""
    net.main.set_input(0, x[0])
    net.main.invoke()
    net.second.set_input(0, np.ascontiguousarray(net.main.get_output(1)[:, :3, :CROP, :CROP]))
    net.second.invoke()
    return [net.second.get_output(0)]


@pytest.fixture
def net(tmp_path):
    paths = write_cascade(tmp_path)

    class Net(SIM_Calibrator):
        def __init__(self):
            super().__init__()
            self.main = calibrator(paths["finder"], ini(tmp_path, "finder", "x"))
            self.second = calibrator(paths["reader"], ini(tmp_path, "reader", "crops"))

        def forward(self, x):
            return forward(self, x)

    return Net()


def units_with(run, word):
    labels = [record.get("label", "") for record in read_records(run / "journal.jsonl")]
    return sum(word in label for label in labels)


def images(count=16):
    for picture in pictures(count):
        yield [picture[None]]


def test_every_model_is_converted_and_the_fixed_ones_run(tmp_path, net):
    fixed = [tmp_path / "main_fixed.onnx", tmp_path / "second_fixed.onnx"]
    assert net.convert(images(), num_process=1, quant_level="L1", fix_model=fixed, **LOCAL) is None
    assert fixed[1].read_bytes() == (tmp_path / "log" / "second" / "model.int8.onnx").read_bytes()
    (entry,) = [
        e for e in json.loads((tmp_path / "second_fixed.onnx.json").read_bytes()) if e["name"] == "crops"
    ]
    row = thresholds(tmp_path / "log" / "second")["crops"]
    assert (entry["min"], entry["max"], entry["bit"]) == ([row["min"]], [row["max"]], 8)

    class Fixed(SIM_Simulator):
        def __init__(self):
            self.main, self.second = map(fixed_simulator, fixed)

        def forward(self, x):
            return forward(self, x)

    class Float(Fixed):
        def __init__(self):
            self.main, self.second = (float_simulator(tmp_path / f"{n}.onnx") for n in ("finder", "reader"))

    found, wanted = (np.stack([r[0] for r in kind()(images(4))]) for kind in (Fixed, Float))
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_without_paths_the_models_come_back(tmp_path, net):
    models = net.convert(images(), quant_level="L1", out=tmp_path / "runs", **LOCAL)
    assert models == [bits(tmp_path / "runs" / name)["model.int8.onnx"] for name in ("main", "second")]


def test_an_item_may_be_an_array(tmp_path, net):
    seen = []
    net.forward = lambda x: seen.append(x.shape) or forward(net, [x])
    net.convert((p[None] for p in pictures(16)), quant_level="L1", out=tmp_path / "runs", **LOCAL)
    assert set(seen) == {(1, 3, 16, 16)}


class Heard(SilentReporter):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_given_ranges_are_kept(tmp_path, net):
    params = [
        {"name": "kept", "min": [0.0], "max": [2.5], "bit": 16},
        {"name": "crops", "min": [0.0], "max": [1.5], "bit": 8},
        {"name": "conv/weights", "min": [-1.0], "max": [1.0], "bit": 8},
    ]
    heard = Heard()
    net.convert(images(), quant_param=params, out=tmp_path / "runs", reporter=heard, **LOCAL)
    main, second = (thresholds(tmp_path / "runs" / name) for name in ("main", "second"))
    assert (main["kept"]["max"], main["kept"]["bits"]) == (2.5, 16)
    assert (second["crops"]["max"], second["crops"]["bits"]) == (1.5, 8)
    assert main["x"]["bits"] == 8
    assert main["x"]["method"] != "quant_param"
    assert sum("conv/weights" in text for text in heard.warnings) == 2
    corrections = [units_with(tmp_path / "runs" / name, "weights of ") for name in ("main.measured", "main")]
    assert corrections == [0, corrections[1]]
    assert corrections[1] > 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((iter(()),), {"quant_level": "L9"}, "Unknown quant_level: L9"),
        ((iter(()),), {"fix_model": ["one"]}, "Num of fix_models must equal Num of models"),
        (([1, 2],), {}, "SIM_Calibrator need data generator for input"),
        ((), {}, "SIM_Calibrator need data generator for input"),
    ],
)
def test_wrong_use_is_a_value_error(net, arguments, options, message):
    with pytest.raises(ValueError, match=message) as error:
        net.convert(*arguments, **options)
    assert isinstance(error.value, distq.UsageError)


def test_levels_are_efforts(tmp_path, net, monkeypatch):
    seen = {}

    def noted(*arguments):
        seen.update({name: options.effort for name, options in arguments[3].options.items()})
        raise InterruptedError

    monkeypatch.setattr("distq.sigmastar.convert.quantize_cascade", noted)
    for number, level in enumerate(LEVELS, 1):
        with pytest.raises(InterruptedError):
            net.convert(images(), quant_level=level, out=tmp_path / "runs")
        assert seen == {"main": number, "second": number}


def test_models_need_the_constructor(tmp_path):
    path = write_model(tmp_path / "m.onnx", reader())

    class Net(SIM_Calibrator):
        def __init__(self):
            self.model = calibrator(path, ini(tmp_path, "m", "crops"))

    with pytest.raises(
        AttributeError, match=r"cannot assign calibrators before SIM_Calibrator\.__init__\(\)"
    ):
        Net()


def test_models_come_back_whole_or_are_refused(tmp_path, net, monkeypatch):
    monkeypatch.setattr(weight_files, "MOST_INSIDE", 16)
    monkeypatch.setattr(weight_files, "MOST_IN_ONE_FILE", 16)
    monkeypatch.setattr(weight_files, "LEAST_BYTES", 4)
    given = {"quant_level": "L1", "out": tmp_path / "runs", **LOCAL}
    models = net.convert(images(), **given)
    assert (tmp_path / "runs" / "main" / "model.int8.onnx.data").is_file()
    for model in models:
        InferenceSession(model)  # finds all weights in the bytes
    monkeypatch.setattr("distq.sigmastar.convert.LARGEST_BYTES", 1000)
    with pytest.raises(distq.UsageError, match=r"over 2 GB.*: give fix_model, and resume=True"):
        net.convert(images(), resume=True, **given)
