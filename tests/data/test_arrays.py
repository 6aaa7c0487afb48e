"""Arrays as a source."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import image_input

from distq.data.arrays import open_npy, open_npz
from distq.data.dataset import DatasetSpec
from distq.errors import DataError


def test_rows_of_an_npz_are_samples_in_the_models_order_of_inputs(tmp_path):
    template, search = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)[:, :, None]
    np.savez(tmp_path / "x.npz", search=search, template=template)
    inputs = (image_input(1, 4, 4, name="template"), image_input(1, 4, 4, name="search"))
    dataset = DatasetSpec(str(tmp_path / "x.npz"), inputs).open()
    sample = dataset.load(2)
    assert (len(dataset), sample.name, sample.label) == (3, "2", None)
    assert list(sample.inputs) == ["template", "search"]
    np.testing.assert_array_equal(sample.inputs["search"], search[2:])
    np.testing.assert_array_equal(sample.inputs["template"], template[2:])


@pytest.mark.parametrize("saved", [("a",), ("a", "b", "c"), ("a", "B")])
def test_missing_and_unknown_keys_name_both_sides(tmp_path, saved):
    np.savez(tmp_path / "x.npz", **{name: np.zeros((2, 3)) for name in saved})
    with pytest.raises(DataError, match=f"has keys {', '.join(sorted(saved))}, the model's inputs are a, b"):
        open_npz(tmp_path / "x.npz", ("a", "b"))


def test_of_many_keys_a_few_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", **{f"k{number}": np.zeros(2) for number in range(9)})
    with pytest.raises(DataError, match=r"has keys k0, k1, k2, k3, k4, \.\.\., the model's inputs are a"):
        open_npz(tmp_path / "x.npz", ("a",))


def test_lengths_must_agree(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3)), b=np.zeros((4, 3)))
    with pytest.raises(DataError, match="a 2, b 4"):
        open_npz(tmp_path / "x.npz", ("a", "b"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"neither"])
@pytest.mark.parametrize("opener", [open_npz, open_npy])
def test_a_damaged_file_is_named(tmp_path, opener, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz cannot be read"):
        opener(tmp_path / "x.npz", ("a",))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_truncated_files_are_refused(tmp_path, keep):
    np.save(tmp_path / "x.npy", np.zeros((10, 100)))
    np.savez_compressed(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=(10, 100)))
    for name, opener in (("x.npy", open_npy), ("x.npz", open_npz)):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(DataError, match="cannot be read"):
            opener(tmp_path / name, ("a",))


def test_python_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", allow_pickle=True, a=np.array([{}], object))
    with pytest.raises(DataError):
        open_npy(tmp_path / "x.npy", ("a",))
    with pytest.raises(DataError):
        open_npz(tmp_path / "x.npz", ("a",))


def test_an_npy_is_mapped_and_feeds_a_model_of_one_input(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    np.save(tmp_path / "x.npy", array)
    source = open_npy(tmp_path / "x.npy", ("data",))
    assert isinstance(source.arrays["data"], np.memmap)
    dataset = DatasetSpec(str(tmp_path / "x.npy"), (image_input(3, 2, 2),)).open()
    np.testing.assert_array_equal(dataset.load(1).inputs["data"], array[1:])
    with pytest.raises(DataError, match=r"holds one input, the model has 2 \(a, b\)"):
        open_npy(tmp_path / "x.npy", ("a", "b"))


def test_the_content_counts_not_the_extension(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    np.savez(tmp_path / "y.npz", a=np.zeros((2, 3)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    with pytest.raises(DataError, match=r"x\.npz is a single array: name it \.npy"):
        open_npz(tmp_path / "x.npz", ("a",))
    with pytest.raises(DataError, match=r"y\.npy cannot be read"):
        open_npy(tmp_path / "y.npy", ("a",))


def test_a_single_number_has_no_sample_axis(tmp_path):
    np.save(tmp_path / "x.npy", np.float32(3))
    with pytest.raises(DataError, match="leading sample axis"):
        open_npy(tmp_path / "x.npy", ("a",))
