"""What the steps that change values do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from data_helpers import mean_blob, picture, run_steps

from distq.data.mean_file import load_mean
from distq.data.preprocess import load_preprocessing
from distq.errors import PreprocessError


def test_colors_convert_from_any_order_to_any():
    image = picture(4, 5)
    rgb = image[:, :, ::-1]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    np.testing.assert_array_equal(run_steps(image, {"color": "bgr"}), image)
    np.testing.assert_array_equal(run_steps(image, {"color": "rgb"}), rgb)
    np.testing.assert_array_equal(run_steps(image, {"color": "gray"}), gray)
    np.testing.assert_array_equal(run_steps(image, {"color": "rgb"}, {"color": "gray"}), gray)
    np.testing.assert_array_equal(run_steps(image, {"color": "rgb"}, {"color": "bgr"}), image)
    np.testing.assert_array_equal(run_steps(gray, {"color": "rgb"}, order="gray"), np.repeat(gray, 3, axis=2))


def test_colors_want_one_or_three_channels():
    with pytest.raises(PreprocessError, match="this one has 5"):
        run_steps(np.zeros((2, 2, 5), np.uint8), {"color": "rgb"})


def test_arithmetic_is_float32_in_the_order_given():
    image = picture(3, 4)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = run_steps(image, {"scale": 1 / 255}, {"mean": mean}, {"std": std})
    wanted = (image.astype(np.float32) * np.float32(1 / 255) - np.float32(mean)) / np.float32(std)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(
        run_steps(image, {"mean": 127}, {"std": [128]}), (np.float32(image) - 127) / 128
    )


def test_numbers_per_channel_must_match_the_channels():
    with pytest.raises(PreprocessError, match="mean has 3 numbers, the picture 1 channels"):
        run_steps(picture(2, 2), {"color": "gray"}, {"mean": [1, 2, 3]})


@pytest.fixture
def folder(tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (3, 6, 8)).astype(np.float32)
    (tmp_path / "mean.binaryproto").write_bytes(mean_blob(mean))
    text = "inputs: {'*': {steps: [{mean_file: mean.binaryproto}, {center_crop: {height: 4, width: 3}}]}}"
    (tmp_path / "p.yaml").write_text(text)
    return tmp_path, mean.transpose(1, 2, 0)


def test_a_mean_file_is_subtracted_at_the_place_before_the_crop(folder):
    """Relative paths start at the preprocessing file; order: blue first, as Caffe's tool writes it."""
    path, mean = folder
    image = picture(6, 8)
    got = load_preprocessing(path / "p.yaml").for_input("data").apply(image)
    wanted = (image.astype(np.float32) - mean)[1:5, 2:5]
    np.testing.assert_array_equal(got[0].transpose(1, 2, 0), wanted)


def test_a_mean_file_is_known_by_its_content_and_written_with_its_path(folder):
    path, _ = folder
    one = load_preprocessing(path / "p.yaml")
    moved = path / "elsewhere"
    moved.mkdir()
    for name in ("p.yaml", "mean.binaryproto"):
        (moved / name).write_bytes((path / name).read_bytes())
    assert load_preprocessing(moved / "p.yaml").describe() == one.describe()
    assert one.as_file()["inputs"]["*"]["steps"][0] == {"mean_file": str(path / "mean.binaryproto")}


def test_a_worker_refuses_a_mean_file_that_has_changed(folder):
    path, _ = folder
    loaded = load_preprocessing(path / "p.yaml")
    (path / "mean.binaryproto").write_bytes(mean_blob(np.zeros((3, 6, 8), np.float32)))
    load_mean.cache_clear()  # a process that has not read it yet
    with pytest.raises(PreprocessError, match="has changed since the job began"):
        loaded.for_input("data").apply(picture(6, 8))


def test_a_mean_file_of_another_size_is_named(folder):
    path, _ = folder
    loaded = load_preprocessing(path / "p.yaml")
    with pytest.raises(PreprocessError, match="is 6x8x3, the picture 7x8x3: put a resize before it"):
        loaded.for_input("data").apply(picture(7, 8))
    with pytest.raises(PreprocessError, match="the picture 6x8x1: give a mean file of as many channels"):
        loaded.for_input("data").apply(picture(6, 8)[..., :1])


def test_a_missing_mean_file_is_named(folder):
    path, _ = folder
    (path / "mean.binaryproto").unlink()
    with pytest.raises(PreprocessError, match=r"mean file .*mean\.binaryproto cannot be read: No such file"):
        load_preprocessing(path / "p.yaml")


def test_standardize_gives_mean_0_and_deviation_1():
    image = picture(5, 6)
    got = run_steps(image, {"standardize": True})
    values = image.astype(np.float64)
    np.testing.assert_allclose(got, (values - values.mean()) / values.std(), rtol=1e-5, atol=1e-6)
    assert got.dtype == np.float32


def test_standardize_of_one_color_is_0():
    assert not run_steps(np.full((4, 4, 3), 7, np.uint8), {"standardize": True}).any()
