"""What each writer makes of one table and the small network, compared with text written by hand."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest
from exchange_networks import TABLE, small_network, unnamed
from goldens import RKNN
from networks import write

from distq.errors import UsageError
from distq.exchange.formats import Request
from distq.exchange.network import describe
from distq.exchange.registry import FORMATS, read_content
from distq.exchange.table import ExchangeTable, of_quantizer
from distq.exchange.text import Content


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network"))


def written(name, network, **options):
    request = Request(TABLE, FORMATS[name].convention or 127, network, **options)
    return FORMATS[name].write(request).decode(), request.lost


def test_tpu_mlir_names_tensors_with_their_operator(network):
    text, lost = written("tpu-mlir", network)
    assert text.splitlines() == [
        "# scale: threshold / 127",
        "# op_name    threshold    min    max",
        "x 1.3333333 -0.6666667 1.3333333",
        "c1_Conv 6.0000000 0.0000000 6.0000000",
        "n1_BatchNormalization 6.0000000 0.0000000 6.0000000",
        "r1_Relu 6.0000000 0.0000000 6.0000000",
        "c2_Conv 2.5400000 -1.0000000 2.5400000",
        "s_Add 12.7000000 0.0000000 12.7000000",
        "r2_Relu 12.7000000 0.0000000 12.7000000",
        "p_GlobalAveragePool 12.7000000 0.0000000 12.7000000",
        "f_Flatten 12.7000000 0.0000000 12.7000000",
        "y_Gemm 25.4000000 -25.4000000 8.0000000",
    ]
    assert lost == ["no zero points: a range around 0 for x"]


def test_tpu_mlir_says_how_many_samples_a_run_took(network):
    request = Request(replace(TABLE, samples=(128, 64)), 127, network)
    lines = FORMATS["tpu-mlir"].write(request).decode().splitlines()
    assert lines[1:5] == ["# sample number: 128", "###", "# tune number: 64", "###"]


def test_bitmain_has_a_layer_a_node_with_shifts_and_multipliers(network):
    text, lost = written("bitmain-prototxt", network)
    layers = {part.split('"')[1]: part for part in text.split("layer {")[1:]}
    assert list(layers) == ["x", "conv1", "bn1", "relu1", "conv2", "add", "relu2", "pool", "flatten", "fc"]
    assert 'name: "r1"\n    threshold_y: 6.0472' in layers["relu1"]
    # weights up to 1 times 6/2.54 reach 64 with a shift of 5: 75.6
    assert "right_shift_width: 5\n" in layers["conv2"]
    # 2.54/12.7 = 0.2 and 6/12.7 = 0.4724: 8 bits at most 127 with a shift of 8
    assert "threshold_x_quantized: 51\n  threshold_x_quantized: 121" in layers["add"]
    assert "right_shift_width: 8\n" in layers["add"]
    # equal thresholds, 8 unsigned bits: 128 of 128
    assert "right_shift_width: 7\n  threshold_x_quantized: 128" in layers["pool"]
    assert lost == ["no zero points: a range around 0 for x, r1 and 3 more"]


def test_bitmain_text_is_a_line_a_layer(network):
    text, _ = written("bitmain-text", network)
    assert "relu1 6.047244\n" in text
    assert "fc 25.6\n" in text


def test_a_calibration_cache_has_hexadecimal_scales(network):
    text, lost = written("tensorrt", network)
    assert text.splitlines()[0] == "TRT-8502-EntropyCalibration2"
    scales = {line.split(": ")[0]: bytes.fromhex(line.split(": ")[1]) for line in text.splitlines()[1:]}
    assert scales["y"] == struct.pack(">f", 25.4 / 127)
    assert scales["n1"] == scales["r1"] == bytes.fromhex("3d418306")
    assert "TensorRT 7 to 10" in lost[-1]


def test_ncnn_has_weights_first_and_scales_of_what_layers_read(network):
    text, _ = written("ncnn", network)
    assert text.splitlines()[0] == "conv1_param_0 127.000000 127.000000 127.000000 127.000000 "
    assert text.splitlines()[3:] == ["conv1 95.250000 ", "conv2 21.166667 ", "fc 10.000000 "]
    rows = [line.split() for line in text.splitlines()]
    assert [row[0] for row in rows] == [
        "conv1_param_0",
        "conv2_param_0",
        "fc_param_0",
        "conv1",
        "conv2",
        "fc",
    ]
    assert [float(v) for v in rows[1][1:]] == pytest.approx([508, 254, 169.3333, 127], rel=1e-6)
    assert [float(v) for v in rows[2][1:]] == pytest.approx([100, 50], rel=1e-6)
    assert all(line.endswith(" ") for line in text.splitlines())


def test_ncnn_takes_the_names_of_a_param_file(network, tmp_path):
    param = tmp_path / "net.ncnn.param"
    param.write_text(
        "7767517\n5 5\nInput in0 0 1 in0\nConvolution conv_0 1 1 in0 1 0=4\nConvolution conv_1 1 1 1 2 0=4\n"
        "Pooling pool 1 1 2 3\nInnerProduct fc_2 1 1 3 out0 0=2\n"
    )
    text, _ = written("ncnn", network, names=param)
    assert [line.split()[0] for line in text.splitlines()][3:] == ["conv_0", "conv_1", "fc_2"]
    param.write_text("7767517\n1 1\nConvolution conv_0 1 1 in0 1 0=4\n")
    with pytest.raises(UsageError, match="has 1 layers with weights, the model 3"):
        written("ncnn", network, names=param)


def test_onnxruntime_gets_ranges_of_every_tensor(network):
    text, _ = written("ort", network)
    ranges = json.loads(text)
    assert ranges["smooth_quant"] is False
    assert ranges["data"]["y"] == {"lowest": -25.4, "highest": 8.0, "CLS": "TensorData"}
    assert ranges["data"]["n1"]["highest"] == pytest.approx(6)
    assert "c1" not in ranges["data"]  # before BatchNormalization the range is another


def test_overrides_have_exact_scales_of_activations_and_weights(network):
    text, lost = written("ort-overrides", network)
    overrides = json.loads(text)
    assert overrides["x"] == [{"quant_type": "QUInt8", "scale": 2 / 255, "zero_point": 85}]
    assert [row["axis"] for row in overrides["fc.weight"]] == [0, 0]
    assert [row["scale"] for row in overrides["fc.weight"]] == pytest.approx([0.01, 0.02])
    assert "quant_pre_process" in lost[0]


def test_sigmastar_has_ranges_of_weights_by_channel(network):
    text, _ = written("sigmastar", network)
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["fc.weight"]["max"] == pytest.approx([1.27, 2.54])
    assert rows["x"]["min"] == pytest.approx([-2 / 3])
    assert rows["y"] == {"name": "y", "min": [-25.4], "max": [8.0], "bit": 8}


def test_encodings_of_aimet_in_three_versions(network):
    old, _ = written("aimet-0.6", network)
    found = json.loads(old)
    (entry,) = found["activation_encodings"]["x"]
    assert (entry["offset"], entry["is_symmetric"]) == (-85, "False")
    assert (entry["min"], entry["max"]) == pytest.approx((-2 / 3, 4 / 3))
    assert len(found["param_encodings"]["conv2.weight"]) == 4
    text, _ = written("aimet-1.0", network)
    rows = {row["name"]: row for row in json.loads(text)["activation_encodings"]}
    assert rows["y"]["is_sym"] is True
    assert rows["y"]["offset"] == [-128]
    assert rows["y"]["scale"] == pytest.approx([0.2])
    text, _ = written("aimet-2.0", network)
    rows = {row["name"]: row for row in json.loads(text)["encodings"]}
    assert "y_zero_point" not in rows["r1"]
    assert rows["fc.bias"]["y_scale"] == pytest.approx([0.01 * 12.7 / 255, 0.02 * 12.7 / 255])
    assert rows["conv2.bias"]["output_dtype"] == "int32"


def test_amct_has_a_record_a_layer_for_what_it_reads(network):
    text, _ = written("amct", network)
    _, table = read_content(Content("t", text.encode()))
    assert list(table.entries) == ["conv1", "conv2", "fc"]
    assert table.entries["conv1"].quantizer == pytest.approx((2 / 255, 85))
    assert table.weights["fc"].scales == pytest.approx((0.02,))  # one of a Gemm


def test_rknn_gets_ranges_in_its_own_file_and_nothing_else_changes(network, tmp_path):
    cfg = tmp_path / "net.quantization.cfg"
    cfg.write_bytes(RKNN.replace(b"data", b"x"))
    text, lost = written("rknn", network, names=cfg)
    before, after = RKNN.replace(b"data", b"x").decode().splitlines(), text.splitlines()
    changed = {i: line for i, (old, line) in enumerate(zip(before, after, strict=True)) if old != line}
    assert [line.strip() for line in changed.values()] == [
        "-   -0.6666666666666666",
        "-   1.3333333333333333",
    ]
    assert lost == []


def test_rknn_without_its_file_says_what_it_needs(network):
    with pytest.raises(UsageError, match=r"give its step-1 \.quantization\.cfg with --names"):
        written("rknn", network)


def test_ppq_has_the_largest_magnitudes(network):
    text, _ = written("ppq", network)
    assert json.loads(text)["act_quant_info"]["y"] == 25.4


def test_a_qtable_lists_what_is_not_int8(network):
    table = ExchangeTable({**TABLE.entries, "r1": of_quantizer(1e-4, 0, 16)}, modes={"y": "F16"})
    request = Request(table, 127, network)
    lines = FORMATS["qtable"].write(request).decode().splitlines()
    assert lines == ["# op_name   quantize_mode", "n1_BatchNormalization F16", "r1_Relu F16", "y_Gemm F16"]
    assert "16-bit" in request.lost[0]


def test_nodes_without_names_and_layers_without_thresholds(tmp_path):
    network = describe(write(tmp_path, unnamed()))
    assert [(node.weight, node.own_output, node.output) for node in network.weighted] == [("w", "1", "2")]
    table = ExchangeTable({"x": of_quantizer(2 / 255, 85), "3": of_quantizer(6 / 255, 0)})
    request = Request(table, 127, network)
    rows = FORMATS["tpu-mlir"].write(request).decode().splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["x", "1_Conv", "2_BatchNormalization", "3_Relu", "4_Sigmoid"]
    assert rows[-1] == "4_Sigmoid 1.0000000 0.0000000 1.0000000"
    assert "which --to qtable lists as float: 5, 7" in request.lost[-2]
    lines = FORMATS["qtable"].write(Request(table, 127, network)).decode().splitlines()
    assert lines == ["# op_name   quantize_mode", "5_Exp F16", "7_Reshape F16"]


@pytest.mark.parametrize("name", ["tpu-mlir", "ncnn", "amct"])
def test_formats_that_name_layers_ask_for_the_model(name):
    with pytest.raises(UsageError, match="give --model MODEL"):
        written(name, None)


@pytest.mark.parametrize("name", ["ncnn", "amct"])
def test_what_no_layer_reads_is_named_where_a_format_has_layers_inputs_alone(name, network):
    text, lost = written(name, network)
    assert " y " not in text
    (line,) = [one for one in lost if "only what layers read has a place" in one]
    assert "y" in line.split("without ")[1].split(", ")
