import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.calibration.distributions import DistributionSet
from distq.calibration.histogram import Distribution
from distq.errors import FileFormatError

IDENTITY = {"model": "aa" * 32, "data": "bb" * 32, "samples": "128"}


def example():
    rng = np.random.default_rng(0)
    tensors = {
        "conv/1:0": Distribution.of(np.maximum(rng.standard_normal(500), 0)),
        "Größe": Distribution.of(rng.standard_normal(500)),
        "nothing": Distribution.empty(),
        "sick": Distribution.of(np.array([np.nan, 0.0])),
    }
    return DistributionSet(tensors, IDENTITY)


def contents(distributions):
    arrays = {
        name: {key: array.tolist() for key, array in tensor.to_arrays().items()}
        for name, tensor in distributions.tensors.items()
    }
    return arrays, distributions.identity


def test_what_was_saved_is_loaded(tmp_path):
    example().save(tmp_path / "distributions.npz")
    assert contents(DistributionSet.load(tmp_path / "distributions.npz")) == contents(example())


def test_equal_sets_give_equal_bytes_in_whatever_order_they_were_filled(tmp_path):
    example().save(tmp_path / "one.npz")
    backwards = DistributionSet(
        dict(reversed(example().tensors.items())), dict(reversed(example().identity.items()))
    )
    backwards.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_the_file_is_a_plain_npz_with_this_layout(tmp_path):
    distribution = Distribution.of(np.array([0.0, 1.0, 1.0, -2.0, np.inf]))
    DistributionSet({"x": distribution}, {"model": "m"}).save(tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes())
    assert header == {"format": "distq distributions 2", "identity": {"model": "m"}, "tensors": ["x"]}
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "0/totals": [4, 1, 1, 128, 1, 4],
        "0/range": [-2.0, 1.0],
        "0/positive_buckets": [0, 14 * 2048],
        "0/positive_counts": [1, 2],
        "0/negative_buckets": [15 * 2048],
        "0/negative_counts": [1],
        "0/tail": [-2.0, 1.0, 1.0],
    }
    with zipfile.ZipFile(tmp_path / "d.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_file_of_the_first_format_is_loaded(tmp_path):
    header = {"format": "distq distributions 1", "identity": IDENTITY, "tensors": ["x"]}
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "0/totals": np.array([5, 1, 1, 128]),
        "0/range": np.array([-2.0, 1.0]),
        "0/positive_buckets": np.array([0, 14 * 2048], np.uint16),
        "0/positive_counts": np.array([1, 2]),
        "0/negative_buckets": np.array([14 * 2048, 15 * 2048], np.uint16),
        "0/negative_counts": np.array([1, 1]),
        "0/tail": np.array([1.0, 1.0, 1.0, 2.0], np.float32),
    }
    np.savez(tmp_path / "d.npz", **arrays)
    loaded = DistributionSet.load(tmp_path / "d.npz")
    same = Distribution.of(np.array([0.0, 1.0, 1.0, -1.0, -2.0, np.inf]))
    assert contents(loaded) == contents(DistributionSet({"x": same}, IDENTITY))
    np.savez(tmp_path / "short.npz", **arrays | {"0/tail": np.array([1.0, 2.0], np.float32)})
    with pytest.raises(FileFormatError, match="tail"):
        DistributionSet.load(tmp_path / "short.npz")


def test_the_same_identity_passes_in_any_order_and_another_does_not():
    found = example()
    found.require_same(dict(reversed(IDENTITY.items())))
    with pytest.raises(FileFormatError):
        found.require_same({**IDENTITY, "samples": "127"})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": "cc"}, ["data", "bb" * 32, "cc"]),
        ({"model": "dd", "data": "cc"}, ["model", "aa" * 32, "dd"]),
        ({"seed": "1"}, ["seed", "not recorded", "1"]),
    ],
)
def test_another_identity_is_refused_by_its_first_difference(changed, named):
    with pytest.raises(FileFormatError) as caught:
        example().require_same(IDENTITY | changed)
    message = str(caught.value)
    assert all(part in message for part in named)
    assert "--dump-dist" in message
    assert "\n" not in message


def test_a_field_that_only_the_file_has_is_a_difference():
    with pytest.raises(FileFormatError, match="samples"):
        example().require_same({"model": "aa" * 32, "data": "bb" * 32})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"absent\.npz"):
        DistributionSet.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npz_is_refused(tmp_path, data):
    (tmp_path / "d.npz").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"d\.npz"):
        DistributionSet.load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros(3)},
        {"header": np.frombuffer(b"{}", np.uint8)},
        {"header": np.frombuffer(b"[1]", np.uint8)},
        {"header": np.frombuffer(b'{"format": "other", "tensors": [], "identity": {}}', np.uint8)},
        {
            "header": np.frombuffer(
                b'{"format": "distq distributions 1", "tensors": [1], "identity": {}}', np.uint8
            )
        },
        {
            "header": np.frombuffer(
                b'{"format": "distq distributions 1", "tensors": ["a"], "identity": {}}', np.uint8
            )
        },
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(FileFormatError, match=r"d\.npz"):
        DistributionSet.load(tmp_path / "d.npz")


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "d.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError):
        DistributionSet.load(tmp_path / "d.npz")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "d.npz"
    example().save(path)
    return path


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_holds_the_same(saved, data):
    content = bytearray(saved.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    damaged = saved.with_name("damaged.npz")
    damaged.write_bytes(content)
    try:
        loaded = DistributionSet.load(damaged)
    except FileFormatError:
        return
    assert contents(loaded) == contents(example())
