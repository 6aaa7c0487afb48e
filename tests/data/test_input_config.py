"""SigmaStar's input_config.ini."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import image_input, picture, write_picture

from distq.data.dataset import DatasetSpec
from distq.data.input_config_file import read_input_config
from distq.errors import PreprocessError

ONE = """
[INPUT_CONFIG]
inputs='data';
training_input_formats=RGB;
input_formats=RGBA;
quantizations=TRUE;
mean_red=127.5;
mean_green=120;
mean_blue=110;
std_value=128;

[OUTPUT_CONFIG]
outputs='scores,boxes';
dequantizations=TRUE,FALSE;

[CONV_CONFIG]
tensor_arrays='conv1-1,conv2-1';
"""

TWO = """
[INPUT_CONFIG]
inputs=a,b
input_formats=BGR,GRAY
mean=1:2:3,7
std_value=4:5:6,8
input_shapes=1,3,4,4:1,1,4,4
"""


def read(tmp_path, text):
    (tmp_path / "input_config.ini").write_text(text)
    return read_input_config(tmp_path / "input_config.ini")


def test_quotes_and_semicolons_are_the_vendors_habit(tmp_path):
    config = read(tmp_path, ONE)
    (data,) = config.inputs
    assert (data.name, data.format, data.training_format) == ("data", "RGBA", "RGB")
    assert (data.mean, data.std, data.shape) == ((127.5, 120, 110), (128,), None)
    assert (config.outputs, config.dequantized) == (("scores", "boxes"), (True, False))
    assert (config.int16_tensors, config.all_int16) == (("conv1-1", "conv2-1"), False)


def test_every_input_has_its_own(tmp_path):
    a, b = read(tmp_path, TWO).inputs
    assert (a.training_format, a.mean, a.std, a.shape) == ("BGR", (1, 2, 3), (4, 5, 6), (1, 3, 4, 4))
    assert (b.training_format, b.mean, b.std, b.shape) == ("GRAY", (7,), (8,), (1, 1, 4, 4))


@pytest.mark.parametrize(("trained", "order"), [("RGB", [2, 1, 0]), ("BGR", [0, 1, 2])])
def test_images_are_resized_ordered_and_normalized(tmp_path, trained, order):
    pixels = picture(4, 6)
    write_picture(tmp_path / "photos" / "0.png", pixels)
    text = f"""
[INPUT_CONFIG]
inputs=data
input_formats=YUV_NV12
training_input_formats={trained}
mean=10:20:30
std_value=2:4:8
"""
    spec = image_input(3, 4, 6)
    steps = read(tmp_path, text).preprocessing([spec])
    found = DatasetSpec(str(tmp_path / "photos"), (spec,), steps).open().load(0).inputs["data"]
    mean, std = np.array([30, 20, 10]), np.array([8, 4, 2])  # as the pixels: blue, green, red
    wanted = ((pixels - mean) / std)[:, :, order].transpose(2, 0, 1)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)


def test_raw_data_has_no_steps(tmp_path):
    config = read(tmp_path, "[INPUT_CONFIG]\ninputs=data\ninput_formats=RAWDATA_S16_NHWC\n")
    assert config.preprocessing([image_input(3, 4, 6)]) is None


@pytest.mark.parametrize(
    ("line", "all_int16", "tensors"),
    [
        ("input_format=ALL_INT16;", True, ()),
        ("input_format=ALL_UINT8", False, ()),
        ("input_format=ALL_UINT8\ntensor_arrays=a", False, ()),
        ("input_format=ALL_INT16\ntensor_arrays='a, b'", False, ("a", "b")),
        ("tensor_arrays=''", False, ()),
    ],
)
def test_widths_of_convolutions(tmp_path, line, all_int16, tensors):
    config = read(tmp_path, f"[INPUT_CONFIG]\ninputs=x\n[CONV_CONFIG]\n{line}\n")
    assert (config.all_int16, config.int16_tensors) == (all_int16, tensors)


def test_what_distq_does_otherwise_is_said(tmp_path):
    text = ONE.replace("quantizations=TRUE;\n", "quantizations=FALSE;\nhardware=7;\n", 1)
    first, second, third = read(tmp_path, text).remarks()
    assert first.endswith("[INPUT_CONFIG] hardware means nothing to distq and is passed over")
    assert "quantizations=FALSE of data changes nothing: the INT8 network takes float" in second
    assert "dequantizations=FALSE of boxes changes nothing: the INT8 network gives float" in third


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[OUTPUT_CONFIG]\noutputs=a\n", r"\[INPUT_CONFIG\] inputs is missing"),
        (
            "[INPUT_CONFIG]\ninputs=a,b\ninput_formats=RGB\n",
            "1 input_formats for 2 inputs: give one for each",
        ),
        ("[INPUT_CONFIG]\ninputs=a\nquantizations=MAYBE\n", "quantizations is MAYBE: write TRUE or FALSE"),
        ("[INPUT_CONFIG]\ninputs=a\nmean=1,2,3\n", "3 mean for 1 inputs"),
        ("[INPUT_CONFIG]\ninputs=a\nmean=1:x\n", "mean is 1:x: write numbers with ':' between them"),
        ("[INPUT_CONFIG]\ninputs=a\nstd_value=0\n", "std_value is 0"),
        ("[INPUT_CONFIG]\ninputs=a\n[CONV_CONFIG]\ninput_format=INT4\n", "input_format is INT4: distq knows"),
        ("[INPUT_CONFIG]\ninputs=a\n[OUTPUT_CONFIG]\noutputs=b,c\ndequantizations=TRUE\n", "1 dequantiz"),
        ("inputs=a\n", "File contains no section headers"),
        ("[INPUT_CONFIG]\ninputs=a\ninputs=b\n", "already exists"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(PreprocessError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_of_another_model_is_refused(tmp_path):
    specs = [image_input(3, 4, 4, name="a"), image_input(1, 4, 4, name="b")]
    config = read(tmp_path, TWO)
    config.check(specs, ["anything"])
    with pytest.raises(PreprocessError, match=r"inputs are a, b, the model's are b, a: write these, in this"):
        config.check(specs[::-1], [])
    other = [specs[0], image_input(1, 5, 5, name="b")]
    with pytest.raises(PreprocessError, match="input_shapes has 1x1x4x4 for b, the model takes 1x1x5x5"):
        config.check(other, [])
    with pytest.raises(PreprocessError, match="outputs are scores, boxes, the model's are boxes, scores"):
        read(tmp_path, ONE).check([image_input(3, 4, 4)], ["boxes", "scores"])


def test_a_gray_input_takes_one_mean(tmp_path):
    config = read(tmp_path, "[INPUT_CONFIG]\ninputs=data\ninput_formats=GRAY\nmean=1:2:3\n")
    with pytest.raises(PreprocessError, match="mean of data has 3 values for GRAY"):
        config.preprocessing([image_input(1, 4, 4)])
