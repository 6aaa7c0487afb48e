"""Which layers of a prototxt are computed, what its inputs are, and how tensors are called."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from caffe_networks import Case, caffemodel, layer

from distq.errors import ModelError
from distq.exchange.caffe.convert import load_caffe, read_caffe

INPUT = 'input: "data" input_shape { dim: 1 dim: 4 dim: 7 dim: 6 }\n'
RELU = layer("ReLU")
BOTH = ("data", "label")
OPERATIONS = (
    "transform_op { op: RESIZE resize_h: 9 resize_w: 9 } transform_op { op: CROP crop_h: 5 crop_w: 6 } "
    "transform_op { op: STAND scale: 2 }"
)


def _load(tmp_path: Path, text: str) -> onnx.ModelProto:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    path.with_suffix(".caffemodel").write_bytes(caffemodel({}))
    return load_caffe(path)


def _inputs(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }


def _outputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


@pytest.mark.parametrize(
    "declared",
    [
        'input: "data" input_shape { dim: 10 dim: 3 dim: 5 dim: 6 }',
        'input: "data" input_dim: 10 input_dim: 3 input_dim: 5 input_dim: 6',
        layer("Input", "data", (), input_param="shape { dim: 10 dim: 3 dim: 5 dim: 6 }"),
        layer("MemoryData", "d", (), BOTH, memory_data_param="batch_size: 10 channels: 3 height: 5 width: 6"),
        layer("Data", "d", (), BOTH, data_param='source: "x"', transform_param="crop_h: 5 crop_w: 6"),
        layer("ImageData", "d", (), BOTH, image_data_param='source: "x" new_height: 5 new_width: 6'),
        layer("Data", "d", (), BOTH, transform_param="resize_param { height: 5 width: 6 }"),
        layer("Data", "d", (), BOTH, transform_param=OPERATIONS),
    ],
)
def test_inputs_are_declared_in_many_ways(declared: str, tmp_path: Path) -> None:
    assert _inputs(_load(tmp_path, declared + "\n" + RELU)) == {"data": ["batch", 3, 5, 6]}


def test_a_data_layer_that_does_not_say_its_size_is_named(tmp_path: Path) -> None:
    data = layer("Data", "d", (), "data", data_param='source: "x"')
    with pytest.raises(ModelError, match=r"line 2: layer d \(Data\) does not say the size of data.*Input"):
        _load(tmp_path, "\n" + data + RELU)


def test_training_layers_losses_and_what_reads_labels_are_left_out(tmp_path: Path) -> None:
    text = (
        layer("Data", "d", (), ("data", "label"), include="phase: TRAIN", transform_param="crop_size: 9")
        + layer("Data", "d", (), ("data", "label"), include="phase: TEST", transform_param="crop_size: 5")
        + layer("ReLU", "noise", top="noise", include="phase: TRAIN")
        + layer("Sigmoid", "score")
        + layer("AbsVal", "stage", include='stage: "deploy"')
        + layer("TanH", "kept", exclude='stage: "deploy"')
        + layer("Slice", "cut", "label", ("one", "two"))
        + layer("Accuracy", "accuracy", ("score", "one"))
        + layer("EuclideanLoss", "loss", ("score", "two"))
        + layer("Silence", "silence", "kept", ())
    )
    model = _load(tmp_path, text)
    assert _inputs(model) == {"data": ["batch", 3, 5, 5]}
    assert _outputs(model) == ["score"]


def test_a_loss_becomes_no_second_softmax(tmp_path: Path) -> None:
    text = INPUT + layer("Softmax", "prob") + layer("SoftmaxWithLoss", "loss", ("data", "label"))
    assert _outputs(_load(tmp_path, text)) == ["prob"]


def test_the_last_writer_of_a_blob_has_its_name(tmp_path: Path) -> None:
    chain = (
        layer("AbsVal", "c")
        + layer("Sigmoid", "before", "c")
        + layer("TanH", "t", "c", "c")
        + layer("ReLU", "c_relu", "c", "c")
        + layer("Dropout", "drop", "c", "c")
        + layer("ELU", "last", "c")
    )
    nodes = {node.name: node for node in _load(tmp_path, INPUT + chain).graph.node}
    assert list(nodes) == ["c", "before", "t", "c_relu", "last"]
    assert nodes["c"].output == ["c_AbsVal"]
    assert nodes["before"].input == ["c_AbsVal"]
    assert nodes["t"].output == ["t"]
    assert nodes["c_relu"].output == ["c"]
    assert nodes["last"].input == ["c"]


def test_an_input_that_a_layer_changes_in_place_keeps_its_name(tmp_path: Path) -> None:
    model = _load(tmp_path, INPUT + layer("Power", "minus", "data", "data", power_param="shift: -1") + RELU)
    assert list(_inputs(model)) == ["data"]
    assert [node.output[0] for node in model.graph.node] == ["minus", "y"]


def test_an_output_that_nothing_computes_behind_is_there_by_its_name(tmp_path: Path) -> None:
    model = _load(tmp_path, INPUT + layer("ReLU", "r") + layer("Split", "s", "r", ("a", "b")))
    assert _outputs(model) == ["a", "b"]


def test_files_of_the_second_format_are_read(tmp_path: Path) -> None:
    text = INPUT + (
        'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" '
        "convolution_param { num_output: 2 kernel_size: 3 } }\n"
        'layers { name: "r" type: RELU bottom: "c" top: "c" }\n'
        'layers { name: "l" type: LRN bottom: "c" top: "l" lrn_param { local_size: 3 } }\n'
        'layers { name: "p" type: SOFTMAX bottom: "l" top: "p" }\n'
    )
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    path.with_suffix(".caffemodel").write_bytes(caffemodel({"c": ((2, 4, 3, 3), (2,))}))
    assert [node.op_type for node in load_caffe(path).graph.node] == ["Conv", "Relu", "LRN", "Softmax"]


def test_files_of_the_first_format_are_refused_with_the_way_to_upgrade_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"line 2: .*V0.*upgrade_net_proto_text"):
        _load(tmp_path, INPUT + 'layers { layer { name: "c" type: "conv" } bottom: "data" top: "c" }')


def test_what_mixes_samples_keeps_the_batch(tmp_path: Path) -> None:
    permute = layer("Permute", permute_param="order: 1 order: 0 order: 2 order: 3")
    assert _inputs(_load(tmp_path, INPUT + permute)) == {"data": [1, 4, 7, 6]}


def test_all_layers_that_are_not_known_are_named_with_their_lines(tmp_path: Path) -> None:
    text = INPUT + layer("ROIPooling", "roi") + layer("ReLU", "r", "roi") + layer("Proposal", "p", "r")
    with pytest.raises(ModelError, match=r"line 2: roi \(ROIPooling\), line 4: p \(Proposal\)"):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (layer("ReLU", "r", "missing"), "line 2: layer r reads missing, which no layer before it writes"),
        (layer("Pooling", pooling_param="kernel_size: 1 stride: 4"), "windows outside its input of 7x6"),
        (layer("Pooling", pooling_param="kernel_size: 2 pool: STOCHASTIC"), "use MAX or AVE"),
        (layer("Pooling", top=("y", "mask"), pooling_param="kernel_size: 2"), "mask of a max pooling"),
        (layer("Convolution", convolution_param="num_output: 3 kernel_size: 9"), "has no weights"),
        (layer("Reshape", reshape_param="shape { dim: 5 dim: -1 }"), "number of values differs"),
        (layer("Slice", top=("a", "b"), slice_param="slice_point: 9"), "cannot cut 4 along axis 1"),
        (layer("Upsample", bottom=("data", "data"), upsample_param="scale: 2"), "mask of a pooling"),
        (layer("Reorg", reorg_param="stride: 2 reverse: true"), "reverse"),
        (layer("Reorg", reorg_param="stride: 2"), "cannot cut"),
        (layer("ReLU", top=("y", "z")), "has 2 tops, and nothing to write to z"),
        (layer("LRN", lrn_param="local_size: 4"), "odd"),
        (layer("Exp", exp_param="base: 0"), "base"),
        (layer("Eltwise", eltwise_param="operation: XOR"), "XOR"),
        (layer("Permute", permute_param="order: 0 order: 7"), "orders the axes"),
        (layer("Python", "p", "data", python_param='module: "m"'), "does not know"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_its_place(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        _load(tmp_path, INPUT + text)
    assert "\n" not in str(caught.value)
    assert "net." in str(caught.value)


def test_fields_of_forks_are_passed_over_and_noted(tmp_path: Path) -> None:
    case = Case(layer("ReLU", relu_param="negative_slope: 0.5 colour: 3", fork_param="deep { er: [1, 2] }"))
    (note,) = read_caffe(case.save(tmp_path)).notes
    assert "line 4: ReLUParameter.colour, line 4: LayerParameter.fork_param" in note


def test_statistics_of_each_batch_are_refused(tmp_path: Path) -> None:
    norm = layer("BatchNorm", batch_norm_param="use_global_stats: false")
    with pytest.raises(ModelError, match=r"line 4: layer y \(BatchNorm\) has use_global_stats: false"):
        load_caffe(Case(norm, blobs={"y": ((4,), (4,), (1,))}).save(tmp_path))


def test_post_processing_of_forks_is_left_out_and_noted(tmp_path: Path) -> None:
    heads = layer("Sigmoid", "small") + layer("TanH", "large")
    boxes = layer("YoloDetection", "boxes", ("small", "large"), yolo_detection_param="classes: 80")
    path = Case(heads + boxes).save(tmp_path)
    assert _outputs(load_caffe(path)) == ["small", "large"]
    (note,) = read_caffe(path).notes
    assert "line 6: boxes (YoloDetection)" in note
