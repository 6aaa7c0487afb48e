"""How an image lies in a model input."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import image_input, picture, write_picture

from distq.data.dataset import DatasetSpec
from distq.data.layout import image_channels, image_layout
from distq.data.samples import InputSpec
from distq.errors import DataError


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((1, 3, 224, 224), "nchw", 3),
        ((None, 1, 28, 28), "nchw", 1),
        ((1, 224, 224, 3), "nhwc", 3),
        ((None, None, None, 3), "nhwc", 3),
        ((1, 28, 28, 1), "nhwc", 1),
        ((1, 3, 3, 3), "nchw", 3),
        ((1, 1, 28, 1), "nchw", 1),
        ((1, None, None, None), "nchw", None),
        ((1, 4, 8, 8), "nchw", 4),
    ],
)
def test_channels_are_last_where_only_the_last_axis_can_hold_them(shape, layout, channels):
    spec = InputSpec("x", shape, "float32")
    assert (image_layout(spec), image_channels(spec)) == (layout, channels)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32"])
@pytest.mark.parametrize("shape", [(1, 4, 6, 3), (None, None, None, 3)])
def test_photos_feed_an_input_with_channels_last(tmp_path, shape, dtype):
    write_picture(tmp_path / "a.png", picture(4, 6))
    spec = DatasetSpec(str(tmp_path), (InputSpec("x", shape, dtype),))
    fed = spec.open().load(0).inputs["x"]
    assert fed.dtype == dtype
    np.testing.assert_array_equal(fed[0], picture(4, 6)[:, :, ::-1])
    assert spec.describe_preprocessing() == {"default": "float32 RGB (gray for one channel) NHWC, unscaled"}


def test_a_wrong_size_is_to_be_resized_in_the_layout_of_the_input(tmp_path):
    write_picture(tmp_path / "a.png", picture(4, 6))
    with pytest.raises(
        DataError, match=r"is 4x6x3, the model takes 8x8x3: .* resize step, and 'layout: nhwc'"
    ):
        DatasetSpec(str(tmp_path), (image_input(8, 8, 3),)).open().load(0)
    with pytest.raises(DataError, match=r"with a resize step$"):
        DatasetSpec(str(tmp_path), (image_input(3, 8, 8),)).open().load(0)


@pytest.mark.parametrize(
    ("shape", "layout", "wanted"), [((4, 6, 3), "nchw", "nhwc"), ((3, 4, 6), "nhwc", "nchw")]
)
def test_a_layout_that_does_not_fit_is_named_with_the_one_that_does(tmp_path, shape, layout, wanted):
    write_picture(tmp_path / "photos" / "a.png", picture(4, 6))
    (tmp_path / "p.yaml").write_text(f"inputs: {{'*': {{steps: [color: rgb], layout: {layout}}}}}")
    spec = DatasetSpec.create(tmp_path / "photos", [image_input(*shape)], preprocess=tmp_path / "p.yaml")
    with pytest.raises(DataError, match=f"set 'layout: {wanted}' for this input in the preprocessing file"):
        spec.open().load(0)


def test_an_input_of_several_images_takes_no_single_one(tmp_path):
    write_picture(tmp_path / "a.png", picture(4, 6))
    spec = DatasetSpec(str(tmp_path), (InputSpec("x", (4, 3, 4, 6), "float32"),))
    with pytest.raises(
        DataError, match=r"input 'x' \(4x3x4x6\) takes 4 images at once: export .* batch of 1"
    ):
        spec.open().load(0)


@pytest.mark.parametrize("shape", [(1, 72), (3, 4, 6), ()])
def test_an_input_that_is_no_image_takes_none(tmp_path, shape):
    write_picture(tmp_path / "a.png", picture(4, 6))
    spec = DatasetSpec(str(tmp_path), (InputSpec("x", shape, "float32"),))
    with pytest.raises(DataError, match="takes no image, which has 4 dimensions: give arrays"):
        spec.open().load(0)
