"""``distq convert`` from a run and between formats, and other tools' tables as ``--table``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from caffe_cases import COMPARED, Case
from caffe_networks import layer, numbers
from exchange_networks import small_file
from onnx import numpy_helper

import distq
from distq.cli.app import invoke
from distq.engine.progress import SilentReporter
from distq.errors import FileFormatError, UsageError
from distq.exchange.registry import FORMATS, recognise
from distq.exchange.text import load_content
from distq.run.results import RunResult

PLAIN = [name for name in FORMATS if name != "rknn"]


class Warned(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    np.save(folder / "data.npy", np.random.default_rng(0).normal(size=(12, 3, 8, 8)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    return small_file(place)


def calibrate(model: Path, place: Path, out: Path, **options: object) -> RunResult:
    given = {"data": place / "data.npy", "samples": 8, "executor": "local", "method": "max", **options}
    return distq.calibrate(model=model, out=out, **given)


@pytest.fixture(scope="module")
def run(model: Path, place: Path) -> RunResult:
    return calibrate(model, place, place / "run")


@pytest.mark.parametrize("name", PLAIN)
def test_a_run_gives_a_table_of_every_format(name: str, run: RunResult, tmp_path: Path) -> None:
    result = distq.convert(run.out, to=name, out=tmp_path / "table")
    assert (result.source_format, result.format) == ("distq", name)
    assert recognise(load_content(tmp_path / "table")).name == name
    again = distq.convert(tmp_path / "table", to=name, out=tmp_path / "again")
    assert again.source_format == name
    assert (tmp_path / "again").read_bytes() == (tmp_path / "table").read_bytes()


def test_a_run_that_is_not_what_it_wrote_is_refused(run: RunResult, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.out, tmp_path / "run"))
    table = copy / "thresholds.json"
    table.write_text(table.read_text().replace('"threshold": ', '"threshold": 1', 1))
    for source in (copy, table):
        with pytest.raises(FileFormatError, match=r"thresholds\.json is not what its run wrote"):
            distq.convert(source, to="tpu-mlir", out=tmp_path / "table")


def test_a_run_as_distq_is_its_thresholds(run: RunResult, tmp_path: Path) -> None:
    for name in ("distq", "csv"):
        distq.convert(run.out, to=name, out=tmp_path / name)
    distq.convert(tmp_path / "csv", to="distq", out=tmp_path / "back.json")
    wanted = (run.out / "thresholds.json").read_bytes()
    assert (tmp_path / "distq").read_bytes() == wanted
    assert (tmp_path / "back.json").read_bytes() == wanted


def test_scales_of_weights_are_those_of_the_int8_model(run: RunResult, tmp_path: Path) -> None:
    distq.convert(run.out, to="ort-overrides", out=tmp_path / "o.json")
    overrides = json.loads((tmp_path / "o.json").read_text())
    constants = {t.name: t for t in onnx.load(run.out / "model.int8.onnx").graph.initializer}
    exported = numpy_helper.to_array(constants["c2_weight_scale"])
    assert [row["scale"] for row in overrides["conv2.weight"]] == exported.tolist()


@pytest.mark.parametrize("name", ["aimet-2.0", "tpu-mlir", "ort", "amct"])
def test_another_tools_table_is_the_start(
    name: str, run: RunResult, model: Path, place: Path, tmp_path: Path
) -> None:
    distq.convert(run.out, to=name, out=tmp_path / "table")
    reporter = Warned()
    options = {"table": tmp_path / "table", "reporter": reporter}
    calibrate(model, place, tmp_path / "again", **options)
    wanted = json.loads((run.out / "thresholds.json").read_text())["tensors"]
    found = json.loads((tmp_path / "again" / "thresholds.json").read_text())["tensors"]
    assert found.keys() == wanted.keys()
    for tensor, row in wanted.items():
        assert found[tensor]["scale"] == pytest.approx(row["scale"], rel=2e-6)
    lacking = [text for text in reporter.warnings if "the table lacks" in text]
    assert bool(lacking) == (name == "amct")
    assert any("is read as" in text for text in reporter.warnings)


def test_diff_takes_another_tools_table(
    run: RunResult, model: Path, place: Path, tmp_path: Path, capsys
) -> None:
    distq.convert(run.out, to="sigmastar", out=tmp_path / "table")
    line = ["diff", str(model), "--table", str(tmp_path / "table"), "--data", str(place / "data.npy")]
    assert invoke([*line, "--executor", "local", "--json", "--tune-samples", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["sqnr_db"] > 20


def test_a_note_beside_the_table_says_the_convention(run: RunResult, tmp_path: Path) -> None:
    result = distq.convert(run.out, to="bitmain", out=tmp_path / "t.pb2", convention=127)
    assert result.note == tmp_path / "t.pb2.note.txt"
    assert "scale = threshold / 127" in result.note.read_text()
    plain = distq.convert(run.out, to="tensorrt", out=tmp_path / "t.cache")
    assert plain.note is None


def test_what_a_format_cannot_say_is_one_warning(run: RunResult, tmp_path: Path) -> None:
    reporter = Warned()
    distq.convert(run.out, to="tensorrt", out=tmp_path / "t.cache", reporter=reporter)
    (warning,) = reporter.warnings
    assert "no zero points" in warning
    assert "no scales of weights" in warning


def test_names_are_mapped_from_tool_to_tool(run: RunResult, model: Path, tmp_path: Path) -> None:
    distq.convert(run.out, to="tpu-mlir", out=tmp_path / "cali")
    distq.convert(tmp_path / "cali", to="ppq", out=tmp_path / "ppq.json", model=model)
    assert "r1" in json.loads((tmp_path / "ppq.json").read_text())["act_quant_info"]
    result = distq.convert(tmp_path / "cali", to="ppq", out=tmp_path / "names.json")
    assert "r1_Relu" in json.loads((tmp_path / "names.json").read_text())["act_quant_info"]
    assert "--model MODEL gives those of its tensors" in result.warnings[0]


def test_a_run_that_evened_out_channels_gives_what_it_began_with(run: RunResult, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    unsealed = json.loads((run.out / "run.json").read_text())
    del unsealed["files"], unsealed["sha256"]
    (copy / "run.json").write_text(json.dumps(unsealed))
    (copy / "thresholds.json").write_bytes((run.out / "thresholds.json").read_bytes())
    (copy / "thresholds.calibrated.json").write_bytes((run.out / "thresholds.json").read_bytes())
    table = json.loads((copy / "thresholds.json").read_text())
    table["tensors"]["r1"]["method"] = "max+headroom"
    table["tensors"]["r1"]["threshold"] = 99.0
    (copy / "thresholds.json").write_text(json.dumps(table))
    result = distq.convert(copy, to="csv", out=tmp_path / "t.csv")
    assert "--no-equalize" in result.warnings[0]
    assert "99.0" not in (tmp_path / "t.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "trt"}, "there is no table format trt: take distq, csv, .* or ppq"),
        ({"to": "tensorrt", "convention": 127}, "have no convention: leave --convention out"),
        ({"to": "csv", "source_format": "ncnn"}, "is a folder, so a run: leave --from out"),
        ({"to": "rknn"}, "with --names"),
        ({"to": "csv", "out": "none/t.csv"}, "in no folder that exists"),
        ({"to": "csv", "weights": "net.caffemodel"}, "--weights goes with --model"),
    ],
)
def test_wrong_options_are_named(
    options: dict[str, object], message: str, run: RunResult, tmp_path: Path
) -> None:
    values = {"out": tmp_path / "t", **options}
    with pytest.raises(UsageError, match=message):
        distq.convert(run.out, **values)
    assert not (tmp_path / "t").exists()


def test_what_cannot_be_read_exits_with_2_and_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "t").write_text("# op_name    threshold    min    max\na 1.0 nan 1.0\n")
    assert invoke(["convert", str(tmp_path / "t"), "--to", "csv", "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err == f"distq: {tmp_path}/t, line 2: min is nan, which is no finite number\n"
    (tmp_path / "q").write_text("# op_name   quantize_mode\na F16\n")
    with pytest.raises(FileFormatError, match="has no thresholds"):
        distq.convert(tmp_path / "q", to="csv", out=tmp_path / "o")


def test_a_table_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("z_Conv 1.0 0.0 1.0\n")
    with pytest.raises(FileFormatError, match="no name of the table is of the model, such as z_Conv"):
        distq.convert(tmp_path / "t", to="ppq", out=tmp_path / "o", model=small_file(tmp_path))


def test_the_command_shows_what_it_wrote(run: RunResult, tmp_path: Path, capsys) -> None:
    assert invoke(["convert", str(run.out), "--to", "tpu-mlir", "--out", str(tmp_path / "cali")]) == 0
    out = capsys.readouterr().out
    assert "distq to tpu-mlir: " in out
    assert "scale = threshold / 127" in out
    assert invoke(["convert", str(run.out), "--to", "ort", "--out", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "ort"


def test_a_caffe_network_gets_its_own_layers_and_blobs(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", numbers((12, 4, 7, 6), 3))
    run = calibrate(COMPARED["in place"].save(tmp_path), tmp_path, tmp_path / "run", data=tmp_path / "x.npy")
    for name in ("bitmain-prototxt", "bitmain-text"):
        distq.convert(run.out, to=name, out=tmp_path / name)
    layers = re.findall(r'^  name: "(.*)"', (tmp_path / "bitmain-prototxt").read_text(), re.MULTILINE)
    blobs = re.findall(r'^    name: "(.*)"', (tmp_path / "bitmain-prototxt").read_text(), re.MULTILINE)
    assert layers == ["data", "c", "bn", "sc", "r", "p"]
    assert blobs == ["data", "c", "c", "c", "c", "p"]
    lines = (tmp_path / "bitmain-text").read_text().splitlines()
    assert [line.split()[0] for line in lines] == layers


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A Convolution with BatchNorm and ReLU, and one with a PReLU, each in one blob; and a run of it."""
    place = tmp_path_factory.mktemp("in_place")
    np.save(place / "data.npy", numbers((12, 4, 7, 6), 3))
    size = "num_output: 4 kernel_size: 3 pad: 1"
    layers = layer("Convolution", "c1", convolution_param=size) + layer("BatchNorm", "bn", "c1", "c1")
    layers += layer("ReLU", "r", "c1", "c1") + layer("Convolution", "c2", "c1", convolution_param=size)
    layers += layer("PReLU", "p", "c2", "c2") + layer("Convolution", "c3", "c2", convolution_param=size)
    own: tuple[tuple[int, ...], ...] = ((4, 4, 3, 3), (4,))
    blobs = {
        "c1": own,
        "bn": ((4,), np.ones(4, np.float32), np.ones(1, np.float32)),
        "c2": own,
        "c3": own,
        "p": ((4,),),
    }
    net = Case(layers, blobs=blobs).save(place)
    (place / "layers.yaml").write_text("c2: {threshold: 3}\n")
    return net, calibrate(net, place, place / "run", scheme="symmetric", layer_config=place / "layers.yaml")


def starting_at(net: Path, table: Path, out: Path) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """Rows and warnings of a run with the table."""
    run = calibrate(net, net.parent, out, table=table, scheme="symmetric")
    return json.loads((out / "thresholds.json").read_text())["tensors"], run.warnings


@pytest.mark.parametrize("name", ["bitmain", "bitmain-prototxt", "bitmain-text"])
def test_what_layers_write_into_one_blob_is_told_apart_again(
    name: str, in_place: tuple[Path, RunResult], tmp_path: Path
) -> None:
    net, run = in_place
    distq.convert(run.out, to=name, out=tmp_path / "table")
    rows, warnings = starting_at(net, tmp_path / "table", tmp_path / "again")
    wanted = json.loads((run.out / "thresholds.json").read_text())["tensors"]
    assert wanted["c2"]["threshold"] != wanted["c2_Convolution"]["threshold"]
    for tensor, row in wanted.items():
        assert rows[tensor]["threshold"] == pytest.approx(row["threshold"], rel=1e-6), tensor
    assert not [line for line in warnings if "lacks" in line or "several" in line or "not used" in line]


def test_the_first_layer_of_a_blob_stands_for_it_where_the_last_has_no_entry(
    in_place: tuple[Path, RunResult], tmp_path: Path
) -> None:
    net, _ = in_place
    (tmp_path / "table").write_text("data 2\nc1 4\nc2 8\n")
    rows, warnings = starting_at(net, tmp_path / "table", tmp_path / "run")
    assert [rows[name]["threshold"] for name in ("c1", "c2")] == pytest.approx([4 * 127 / 128, 8 * 127 / 128])
    assert [line for line in warnings if "lacks" in line and "c2_Convolution" in line]


def test_no_file_but_a_table_of_the_same_format_is_replaced(run: RunResult, tmp_path: Path) -> None:
    out = tmp_path / "net.prototxt"
    out.write_text("name: 'net'")
    with pytest.raises(UsageError, match=r"exists and is not the \.prototxt table of Bitmain"):
        distq.convert(run.out, to="bitmain-prototxt", out=out)
    assert out.read_text() == "name: 'net'"
    out.unlink()
    distq.convert(run.out, to="bitmain-prototxt", out=out)
    distq.convert(run.out, to="bitmain-prototxt", out=out, convention=127)
    with pytest.raises(UsageError, match="exists and is not"):
        distq.convert(run.out, to="csv", out=out)
