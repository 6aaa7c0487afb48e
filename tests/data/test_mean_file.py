"""Mean pictures: Caffe's BlobProto, and .npy."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import mean_blob

from distq.data.mean_file import load_mean, mean_file_sha256
from distq.errors import PreprocessError

MEAN = np.random.default_rng(0).uniform(0, 255, (3, 4, 5)).astype(np.float32)


def load(path):
    return load_mean(str(path), mean_file_sha256(path))


@pytest.mark.parametrize("legacy", [True, False])
def test_both_ways_to_say_the_shape_are_read(tmp_path, legacy):
    (tmp_path / "mean.binaryproto").write_bytes(mean_blob(MEAN, legacy))
    np.testing.assert_array_equal(load(tmp_path / "mean.binaryproto"), MEAN.transpose(1, 2, 0))


def test_unpacked_floats_and_doubles_are_read(tmp_path):
    sizes = b"\x08\x01\x10\x01\x18\x01\x20\x02"
    floats = b"".join(b"\x2d" + np.float32(value).tobytes() for value in (1.5, -2))
    doubles = b"\x42\x10" + np.asarray([1.5, -2.0]).tobytes()
    for number, stored in enumerate((floats, doubles)):
        path = tmp_path / f"{number}.binaryproto"
        path.write_bytes(sizes + stored)
        assert load(path).tolist() == [[[1.5], [-2.0]]]


def test_an_npy_is_channels_height_width(tmp_path):
    np.save(tmp_path / "mean.npy", MEAN)
    np.testing.assert_array_equal(load(tmp_path / "mean.npy"), MEAN.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is no BlobProto"),
        (b"no protobuf at all", "give the .binaryproto of a mean image"),
        (mean_blob(MEAN)[:-4], "ends early"),
        (mean_blob(MEAN.reshape(60), legacy=False), "holds 60, no channels x height x width"),
    ],
)
def test_anything_else_is_named(tmp_path, data, reason):
    (tmp_path / "mean.binaryproto").write_bytes(data)
    with pytest.raises(PreprocessError, match=reason):
        load(tmp_path / "mean.binaryproto")
