"""Samples recorded from Python as files."""

from __future__ import annotations

import numpy as np
import pytest

from distq.data import recorded
from distq.data.dataset import DatasetSpec
from distq.data.info import describe_source
from distq.data.manifest import manifest
from distq.data.recorded import RecordedSource, Recorder, is_recorded
from distq.data.samples import InputSpec, UnreadableSample
from distq.errors import DataError

INPUTS = (InputSpec("a/b", (None, 2, None), "float32"), InputSpec("mask", (1, 3), "int64"))


def sample(number: int) -> dict[str, np.ndarray]:
    """The first input has another size in every sample."""
    first = np.full((1, 2, number + 1), number, np.float32)
    return {"a/b": first, "mask": np.array([[number, 0, 1]])}


def record(folder, count=5):
    recorder = Recorder(folder)
    for number in range(count):
        recorder.add(sample(number))
    recorder.close()
    return folder


def test_what_was_recorded_is_data(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "_MOST_SAMPLES", 2)
    folder = record(tmp_path / "data")
    assert sorted(path.name for path in folder.glob("*.npz")) == ["00000.npz", "00001.npz", "00002.npz"]
    data = DatasetSpec.create(folder, INPUTS).open()
    assert len(data) == 5
    for number in range(5):
        found = data.load(number)
        assert found.name == str(number)
        for name, array in sample(number).items():
            np.testing.assert_array_equal(found.inputs[name], array)
            assert found.inputs[name].dtype == array.dtype


def test_the_order_of_inputs_is_the_models(tmp_path):
    data = DatasetSpec.create(record(tmp_path / "data"), INPUTS[::-1]).open()
    assert list(data.load(3).inputs) == ["mask", "a/b"]


def test_an_array_that_is_written_into_again_is_recorded_as_it_was(tmp_path):
    recorder, reused = Recorder(tmp_path / "data"), np.zeros(2)
    for number in range(3):
        reused[:] = number
        recorder.add({"x": reused})
    recorder.close()
    source = RecordedSource(tmp_path / "data", None)
    assert [source.arrays(i)["x"][0] for i in range(3)] == [0, 1, 2]


def test_a_file_is_written_before_it_grows_large(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "_MOST_BYTES", 1000)
    recorder = Recorder(tmp_path / "data")
    for _ in range(4):
        recorder.add({"x": np.zeros(100)})
    assert len([*(tmp_path / "data").glob("*.npz")]) == 2
    assert not is_recorded(tmp_path / "data")


def test_a_new_recording_replaces_what_was_there(tmp_path):
    folder = record(tmp_path / "data")
    assert is_recorded(folder)
    Recorder(folder)
    assert not is_recorded(folder)
    assert len(RecordedSource(record(folder, 2), None)) == 2


def test_the_manifest_depends_on_the_content(tmp_path):
    one, same = (DatasetSpec.create(record(tmp_path / name), INPUTS) for name in ("one", "same"))
    other = Recorder(tmp_path / "other")
    for number in range(5):
        other.add({**sample(number), "mask": np.array([[number, 0, 2]])})
    other.close()
    changed = DatasetSpec.create(tmp_path / "other", INPUTS)
    assert manifest(one, range(5)).sha256 == manifest(same, range(5)).sha256
    assert manifest(one, range(5)).sha256 != manifest(changed, range(5)).sha256
    assert one.open().source.names_sha256() != changed.open().source.names_sha256()


def test_info_shows_it(tmp_path):
    info = describe_source(record(tmp_path / "data"))
    assert (info.kind, info.count, info.shapes[1]) == ("recorded", 5, ("1x2x2 float32", "1x3 int64"))
    assert info.bytes == (tmp_path / "data" / "00000.npz").stat().st_size


def test_damage_is_named(tmp_path):
    folder = record(tmp_path / "data")
    (folder / "00000.npz").write_bytes(b"PK")
    with pytest.raises(UnreadableSample, match=r"sample 3 in .*00000\.npz cannot be read"):
        RecordedSource(folder, None).arrays(3)
    (folder / "recorded.json").write_text("{}")
    with pytest.raises(DataError, match=r"recorded\.json is damaged: record the samples again"):
        RecordedSource(folder, None)


def test_samples_of_another_model_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has samples of inputs a/b, mask, the model's are x: record"):
        RecordedSource(record(tmp_path / "data"), ("x",))
