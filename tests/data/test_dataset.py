"""A data set as a job uses it: described, sent to workers, opened, loaded, hashed."""

from __future__ import annotations

import pickle  # noqa: TID251  # the test shows that specifications travel; nothing foreign is read
from array import array

import numpy as np
import pytest
from data_helpers import encoded, image_input, picture, raw_datum, write_lmdb, write_picture

from distq.data.dataset import DatasetSpec, InputSpec, UnreadableSample, load_ahead
from distq.data.manifest import manifest
from distq.data.text_list import TextListSource
from distq.errors import DataError, PreprocessError


@pytest.fixture
def photos(tmp_path):
    for index in range(4):
        write_picture(tmp_path / "photos" / f"{index} ü.png", picture(4, 6, index))
    return tmp_path / "photos"


def test_without_a_preprocessing_file_images_are_rgb_nchw_unscaled(photos):
    dataset = DatasetSpec(str(photos), (image_input(3, 4, 6),)).open()
    sample = dataset.load(2)
    wanted = picture(4, 6, 2)[:, :, ::-1].transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    assert (len(dataset), sample.index, sample.name, sample.label) == (4, 2, "2 ü.png", None)
    assert sample.inputs["data"].dtype == np.float32
    np.testing.assert_array_equal(sample.inputs["data"], wanted)


def test_a_gray_model_gets_gray_and_an_integer_model_pixels(photos):
    assert DatasetSpec(str(photos), (image_input(1, 4, 6),)).open().load(0).inputs["data"].shape == (
        1,
        1,
        4,
        6,
    )
    sample = DatasetSpec(str(photos), (image_input(3, 4, 6, dtype="uint8"),)).open().load(0)
    assert sample.inputs["data"].dtype == np.uint8


def test_an_image_of_another_size_names_input_sizes_and_remedy(photos):
    dataset = DatasetSpec(str(photos), (image_input(3, 224, 224),)).open()
    reason = r"input 'data' of sample 0 ü\.png is 3x4x6, the model takes 3x224x224: give --preprocess P\.yaml"
    with pytest.raises(DataError, match=reason) as caught:
        dataset.load(0)
    assert not isinstance(caught.value, UnreadableSample)


def test_a_preprocessing_file_is_applied_and_its_errors_name_the_sample(tmp_path, photos):
    path = tmp_path / "p.yaml"
    path.write_text("inputs: {data: {steps: [{resize: {height: 8, width: 8}}, {scale: 0.5}], layout: nhwc}}")
    spec = DatasetSpec.create(photos, [image_input(8, 8, 3)], preprocess=path)
    assert spec.open().load(0).inputs["data"].shape == (1, 8, 8, 3)
    path.write_text("inputs: {data: {steps: [center_crop: {height: 99, width: 8}]}}")
    spec = DatasetSpec.create(photos, [image_input(3, 99, 8)], preprocess=path)
    with pytest.raises(PreprocessError, match=r"sample 0 ü\.png: center_crop of 99x8"):
        spec.open().load(0)
    with pytest.raises(PreprocessError, match="unknown model input 'data'"):
        DatasetSpec.create(photos, [image_input(3, 99, 8, name="input")], preprocess=path).open()


@pytest.mark.usefixtures("photos")
def test_several_inputs_each_have_their_steps(tmp_path):
    np.save(tmp_path / "box.npy", np.array([1, 2, 3, 4]))
    (tmp_path / "list.txt").write_text("photos/0 ü.png, photos/1 ü.png, box.npy 5\n")
    (tmp_path / "p.yaml").write_text("inputs: {a: {steps: [color: gray]}, '*': {steps: [flip: both]}}")
    inputs = [image_input(1, 4, 6, name="a"), image_input(3, 4, 6, name="b"), image_input(4, name="box")]
    sample = DatasetSpec.create(tmp_path / "list.txt", inputs, preprocess=tmp_path / "p.yaml").open().load(0)
    np.testing.assert_array_equal(sample.inputs["b"][0], picture(4, 6, 1)[::-1, ::-1].transpose(2, 0, 1))
    assert sample.inputs["a"].shape == (1, 1, 4, 6)
    assert sample.inputs["box"].tolist() == [[1, 2, 3, 4]]
    assert sample.label == 5


def test_each_input_says_what_a_sample_is(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "frames": rng.normal(size=(4, 5, 1, 3)),
        "state": rng.normal(size=(4, 2, 1, 6)),
        "image": rng.normal(size=(4, 3, 4, 6)),
        "mask": rng.normal(size=(4, 1, 7)),
        "scale": rng.normal(size=4),
    }
    shapes = {
        "frames": (None, 1, 3),
        "state": (2, 1, 6),
        "image": (None, 3, 4, 6),
        "mask": (1, 7),
        "scale": (),
    }
    np.savez(tmp_path / "x.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    inputs = tuple(InputSpec(name, shape, "float32") for name, shape in shapes.items())
    dataset = DatasetSpec(str(tmp_path / "x.npz"), inputs).open()
    assert len(dataset) == 4
    fed = dataset.load(2).inputs
    assert {name: found.shape for name, found in fed.items()} == {
        "frames": (5, 1, 3),
        "state": (2, 1, 6),
        "image": (1, 3, 4, 6),
        "mask": (1, 7),
        "scale": (),
    }
    for name, found in fed.items():
        np.testing.assert_array_equal(found.ravel(), arrays[name][2].ravel().astype(np.float32))


def test_unreadable_images_are_named_and_come_in_their_place(photos):
    (photos / "1 ü.png").write_bytes(encoded(picture(4, 6))[:50])
    dataset = DatasetSpec(str(photos), (image_input(3, 4, 6),)).open()
    loaded = list(load_ahead(dataset, range(4)))
    assert [type(sample).__name__ for sample in loaded] == ["Sample", "UnreadableSample", "Sample", "Sample"]
    assert loaded[1].index == 1
    assert str(photos / "1 ü.png") in str(loaded[1])


def test_the_pixel_limit_is_the_specifications(photos):
    spec = DatasetSpec(str(photos), (image_input(3, 4, 6),), pixel_limit=23)
    with pytest.raises(UnreadableSample, match="over the limit of 23"):
        spec.open().load(0)


@pytest.mark.usefixtures("photos")
def test_a_labels_file_goes_before_the_sources_labels(tmp_path):
    (tmp_path / "list.txt").write_text("photos/0 ü.png 1\nphotos/1 ü.png 1\n")
    (tmp_path / "labels.txt").write_text("0 ü.png 7\n")
    spec = DatasetSpec.create(tmp_path / "list.txt", [image_input(3, 4, 6)], labels=tmp_path / "labels.txt")
    dataset = spec.open()
    assert dataset.load(0).label == 7
    with pytest.raises(DataError, match=r"labels\.txt has no label for sample photos/1 ü\.png"):
        dataset.label(1)


def test_a_specification_travels_and_is_a_key(tmp_path, photos, monkeypatch):
    (tmp_path / "p.yaml").write_text("inputs: {'*': {steps: [color: rgb]}}")
    monkeypatch.chdir(tmp_path)
    spec = DatasetSpec.create(
        photos.relative_to(tmp_path), [image_input(3, 4, 6)], preprocess=tmp_path / "p.yaml"
    )
    monkeypatch.chdir("/")  # as on a worker
    travelled = pickle.loads(pickle.dumps(spec))  # noqa: S301  # our own bytes
    assert travelled == spec
    assert {spec: 1}[travelled] == 1
    assert travelled.open().load(3).name == "3 ü.png"


def test_an_unreadable_sample_travels_with_its_index():
    error = UnreadableSample("image x cannot be decoded")
    error.index = 5
    travelled = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (str(travelled), travelled.index) == ("image x cannot be decoded", 5)


def test_a_preprocessing_is_described_whichever_it_is(tmp_path, photos):
    inputs = [image_input(3, 4, 6)]
    (tmp_path / "p.yaml").write_text("inputs: {'*': {}}")
    (tmp_path / "p.py").write_text("def image_preprocess(p, norm=True): pass")
    assert "default" in DatasetSpec.create(photos, inputs).describe_preprocessing()
    described = DatasetSpec.create(photos, inputs, preprocess=tmp_path / "p.yaml").describe_preprocessing()
    assert described == {"inputs": {"*": {"layout": "nchw", "steps": []}}}
    plugin = DatasetSpec.create(photos, inputs, preprocess=tmp_path / "p.py", allow_code=True)
    assert plugin.describe_preprocessing() == {"plugin": "p.py", "sha256": plugin.plugin_sha256}


def test_a_manifest_depends_on_what_is_stored_and_where_it_stands(photos):
    spec = DatasetSpec(str(photos), (image_input(3, 4, 6),))
    first = manifest(spec, [0, 1, 2])
    assert (first.kind, first.count, first.selected, first.hashed) == ("folder", 4, 3, "contents")
    assert manifest(spec, [0, 1, 2]) == first
    assert manifest(spec, [0, 2, 1]).sha256 != first.sha256
    assert manifest(spec, [0, 1]).sha256 != first.sha256
    data = bytearray((photos / "1 ü.png").read_bytes())
    data[-20] ^= 1
    (photos / "1 ü.png").write_bytes(data)
    assert manifest(spec, [0, 1, 2]).sha256 != first.sha256


def test_a_manifest_of_the_same_files_elsewhere_is_the_same(tmp_path, photos):
    here = manifest(DatasetSpec(str(photos), (image_input(3, 4, 6),)), range(4))
    photos.rename(tmp_path / "elsewhere")
    there = manifest(DatasetSpec(str(tmp_path / "elsewhere"), (image_input(3, 4, 6),)), range(4))
    assert here.sha256 == there.sha256


def test_a_manifest_of_many_samples_reads_some_and_says_so(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10_001, 2), np.float32))
    spec = DatasetSpec(str(tmp_path / "x.npy"), (image_input(2),))
    assert manifest(spec, range(10_000)).hashed == "contents"
    first = manifest(spec, range(10_001))
    assert first.hashed == "names and one content in 11"
    assert manifest(spec, array("q", range(10_001))) == first
    assert manifest(spec, [*range(10_000), 9_999]).sha256 != first.sha256
    np.save(tmp_path / "x.npy", np.ones((10_001, 2), np.float32))
    assert manifest(spec, range(10_001)).sha256 != first.sha256


def test_the_manifest_of_a_long_list_depends_on_all_and_opens_a_thousand_files(tmp_path, monkeypatch):
    lines = [f"photos/{i:07d}.jpg {i % 1000}\n" for i in range(100_000)]
    (tmp_path / "list.txt").write_text("".join(lines))
    spec = DatasetSpec(str(tmp_path / "list.txt"), (image_input(3, 4, 6),))
    opened: list[int] = []
    stored = TextListSource.stored
    monkeypatch.setattr(TextListSource, "stored", lambda self, i: opened.append(i) or stored(self, i))
    first = manifest(spec, range(100_000))
    assert (first.count, sorted(opened)) == (100_000, list(range(0, 100_000, 100)))
    lines[77_777] = "photos/other.jpg 0\n"
    (tmp_path / "list.txt").write_text("".join(lines))
    assert manifest(spec, range(100_000)).sha256 != first.sha256


def test_a_missing_file_does_not_stop_a_manifest(tmp_path):
    (tmp_path / "list.txt").write_text("gone.png\n")
    spec = DatasetSpec(str(tmp_path / "list.txt"), (image_input(3, 4, 6),))
    gone = manifest(spec, [0])
    write_picture(tmp_path / "gone.png", picture(4, 6))
    assert manifest(spec, [0]).sha256 != gone.sha256


def test_the_manifest_of_an_lmdb_hashes_its_records(tmp_path):
    spec = [
        DatasetSpec(
            str(write_lmdb(tmp_path / name, {b"a": raw_datum(picture(2, 2, seed))})), (image_input(3, 2, 2),)
        )
        for name, seed in (("one", 1), ("two", 1), ("three", 3))
    ]
    hashes = [manifest(each, [0]).sha256 for each in spec]
    assert hashes[0] == hashes[1] != hashes[2]
