"""Files of arrays that hold one sample each, in folders and lists."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import image_input, picture, write_picture

from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.data.folder import FolderSource
from distq.data.info import describe_source
from distq.errors import DataError

ONE = (image_input(3, 4),)
TWO = (image_input(3, 4, name="a"), image_input(2, name="b"))
VALUES = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)
PAIRS = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)


@pytest.fixture
def npys(tmp_path):
    for name, value in zip(("sub/b", "a", "c"), VALUES[[1, 0, 2]], strict=True):
        path = tmp_path / "npys" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, value[np.newaxis] if name == "a" else value)
    return tmp_path / "npys"


@pytest.fixture
def npzs(tmp_path):
    (tmp_path / "npzs").mkdir()
    for i in range(3):
        np.savez(tmp_path / "npzs" / f"{i}.npz", b=PAIRS[i], a=VALUES[i])
    return tmp_path / "npzs"


def test_a_folder_of_npy_feeds_a_model_of_one_input(npys):
    dataset = DatasetSpec(str(npys), ONE).open()
    assert [dataset.name(i) for i in range(3)] == ["a.npy", "c.npy", "sub/b.npy"]
    for i, wanted in enumerate(VALUES[[0, 2, 1]]):
        np.testing.assert_array_equal(dataset.load(i).inputs["data"], wanted[np.newaxis])


@pytest.mark.parametrize("listed", [False, True])
def test_an_npz_a_sample_feeds_all_inputs_by_their_names(npzs, listed):
    (npzs / "list.txt").write_text("0.npz 7\n1.npz 8\n2.npz 9\n")
    dataset = DatasetSpec(str(npzs / "list.txt" if listed else npzs), TWO).open()
    assert (len(dataset), dataset.label(1)) == (3, 8 if listed else None)
    for i in range(3):
        inputs = dataset.load(i).inputs
        assert list(inputs) == ["a", "b"]
        np.testing.assert_array_equal(inputs["a"][0], VALUES[i])
        np.testing.assert_array_equal(inputs["b"][0], PAIRS[i])


def test_a_listed_npz_may_feed_one_input_of_several(npys, tmp_path):
    np.savez(tmp_path / "b.npz", b=PAIRS[0])
    (tmp_path / "list.txt").write_text(f"{npys / 'a.npy'}, b.npz\n")
    inputs = DatasetSpec(str(tmp_path / "list.txt"), TWO).open().load(0).inputs
    np.testing.assert_array_equal(inputs["b"][0], PAIRS[0])


def test_only_the_sample_that_is_asked_for_is_read(npys):
    (npys / "c.npy").write_bytes(b"damaged")
    dataset = DatasetSpec(str(npys), ONE).open()
    dataset.load(0)
    with pytest.raises(UnreadableSample, match=r"c\.npy cannot be read"):
        dataset.load(1)


def test_images_go_before_arrays(npys):
    write_picture(npys / "z.png", picture(2, 2))
    source = FolderSource(npys)
    assert (len(source), source.name(0)) == (1, "z.png")


def test_a_folder_of_npy_does_not_feed_several_inputs(npys):
    with pytest.raises(DataError, match=r"gives one input, the model has 2: .* a folder of \.npz"):
        DatasetSpec(str(npys), TWO).open()


def test_other_keys_than_the_inputs_are_named(npzs):
    with pytest.raises(DataError, match=r"0\.npz has keys a, b, the model's inputs are data"):
        DatasetSpec(str(npzs), ONE).open().load(0)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"neither"])
def test_a_damaged_npz_is_an_unreadable_sample(npzs, content):
    (npzs / "1.npz").write_bytes(content)
    with pytest.raises(UnreadableSample, match=r"1\.npz cannot be read"):
        DatasetSpec(str(npzs), TWO).open().load(1)


def test_an_array_called_npz_is_named(npzs):
    np.save(npzs / "x.npy", PAIRS)
    (npzs / "x.npy").rename(npzs / "0.npz")
    with pytest.raises(DataError, match=r"0\.npz is a single array: name it \.npy"):
        DatasetSpec(str(npzs), TWO).open().load(0)


def test_they_are_described_without_a_model(npzs):
    info = describe_source(npzs)
    assert (info.kind, info.count) == ("folder", 3)
    assert sorted(info.shapes[0]) == ["2 float32", "3x4 float32"]


def test_a_file_that_does_not_fit_may_be_left_out_and_others_are_read(tmp_path):
    nan = VALUES[0].copy()
    nan[1, 1] = np.nan
    for name, value in {"0": VALUES[0], "1": nan, "2": VALUES[0][:2], "3": VALUES[0] * 1j}.items():
        np.save(tmp_path / f"{name}.npy", value)
    dataset = DatasetSpec(str(tmp_path), ONE).open()
    assert dataset.load(0).inputs["data"].shape == (1, 3, 4)
    for index, reason in (
        (1, "holds NaN or inf as float32$"),
        (2, "is 2x4, the model takes 3x4"),
        (3, "is comp"),
    ):
        with pytest.raises(UnreadableSample, match=reason) as caught:
            dataset.load(index)
        assert caught.value.index == index


def test_a_row_with_nan_may_be_left_out_but_no_array_of_another_shape(tmp_path):
    rows = VALUES.copy()
    rows[1, 0, 0] = np.inf
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(UnreadableSample, match=r"sample 1 holds NaN or inf as float32$"):
        DatasetSpec(str(tmp_path / "rows.npy"), ONE).open().load(1)
    np.save(tmp_path / "short.npy", VALUES[:, :2])
    with pytest.raises(DataError, match="is 2x4, the model takes 3x4") as caught:
        DatasetSpec(str(tmp_path / "short.npy"), ONE).open().load(0)
    assert not isinstance(caught.value, UnreadableSample)
