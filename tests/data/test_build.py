"""Building LMDBs as convert_imageset does."""

from __future__ import annotations

import stat

import cv2
import lmdb
import numpy as np
import pytest
from data_helpers import encoded, image_input, picture, write_picture

from distq.data import lmdb_write
from distq.data.build import BuildOptions, build_lmdb
from distq.data.caffe_lmdb import LmdbSource
from distq.data.dataset import DatasetSpec
from distq.data.datum import Datum, decode_datum
from distq.data.shards import permutation
from distq.errors import DataError, DistqError, UsageError


@pytest.fixture
def root(tmp_path):
    for index, name in enumerate(["cat/1 a.png", "dog/ü.jpg", "z.bmp"]):
        write_picture(tmp_path / "images" / name, picture(8, 10, index))
    (tmp_path / "list.txt").write_text("cat/1 a.png 3\ndog/ü.jpg 0\n/z.bmp 12\n", encoding="utf-8")
    return tmp_path / "images"


def build(root, **options):
    database = root.parent / "out.lmdb"
    return build_lmdb(root, root.parent / "list.txt", database, BuildOptions(**options)), database


def records(database):
    environment = lmdb.open(str(database), readonly=True, lock=False)
    with environment.begin() as transaction:
        found = {bytes(key).decode(): decode_datum(bytes(value)) for key, value in transaction.cursor()}
    environment.close()
    return found


def test_keys_labels_and_pixels(root):
    report, database = build(root)
    assert (report.database, report.written, report.skipped, report.reasons) == (database, 3, 0, ())
    found = records(database)
    assert list(found) == ["00000000_cat/1 a.png", "00000001_dog/ü.jpg", "00000002_/z.bmp"]
    assert [datum.label for datum in found.values()] == [3, 0, 12]
    assert found["00000000_cat/1 a.png"] == Datum(
        3, 8, 10, picture(8, 10, 0).transpose(2, 0, 1).tobytes(), 3, (), encoded=False
    )


def test_what_is_built_is_a_source(root):
    _, database = build(root, encoded=True)
    spec = DatasetSpec(str(database), (image_input(3, 8, 10),))
    sample = spec.open().load(2)
    np.testing.assert_array_equal(sample.inputs["data"][0], picture(8, 10, 2)[:, :, ::-1].transpose(2, 0, 1))
    assert (sample.name, sample.label) == ("00000002_/z.bmp", 12)


def test_resize_is_bilinear_and_ignores_the_aspect(root):
    _, database = build(root, resize_width=5, resize_height=7)
    datum = records(database)["00000000_cat/1 a.png"]
    wanted = cv2.resize(picture(8, 10, 0), (5, 7), interpolation=cv2.INTER_LINEAR)
    assert datum.shape == (3, 7, 5)
    assert datum.data == wanted.transpose(2, 0, 1).tobytes()


def test_gray_has_one_channel(root):
    _, database = build(root, gray=True)
    datum = records(database)["00000000_cat/1 a.png"]
    assert datum.shape == (1, 8, 10)
    stored = np.fromfile(root / "cat/1 a.png", np.uint8)
    assert datum.data == cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE).tobytes()


def test_encoded_records_hold_the_files_own_bytes_and_no_size(root):
    _, database = build(root, encoded=True)
    for key, name in (("00000000_cat/1 a.png", "cat/1 a.png"), ("00000001_dog/ü.jpg", "dog/ü.jpg")):
        datum = records(database)[key]
        assert datum.data == (root / name).read_bytes()
        assert (datum.encoded, datum.shape) == (True, (0, 0, 0))


@pytest.mark.parametrize(("name", "kept"), [("JPG", True), ("jpeg", False)])
def test_encode_type_implies_encoded_and_converts_what_differs(root, name, kept):
    _, database = build(root, encode_type=name)
    found = records(database)
    stored = (root / "dog/ü.jpg").read_bytes()
    anew = encoded(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR), ".jpg")
    assert stored != anew
    assert found["00000001_dog/ü.jpg"].data == (stored if kept else anew)
    assert found["00000000_cat/1 a.png"].data == encoded(picture(8, 10, 0), ".jpeg")
    assert all(datum.encoded for datum in found.values())


def test_encoded_and_gray_keeps_the_files_own_bytes(root):
    _, database = build(root, encoded=True, gray=True)
    assert records(database)["00000001_dog/ü.jpg"].data == (root / "dog/ü.jpg").read_bytes()


def test_the_bytes_are_those_of_convert_imageset(tmp_path):
    """The fields in ascending order, blue first and row by row; lines without an image leave gaps."""
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)
    write_picture(tmp_path / "a b.png", pixels)
    (tmp_path / "list.txt").write_text("# header\n\na b.png 1\r\nmissing.png 2\na b.png -1\n")
    build_lmdb(tmp_path, tmp_path / "list.txt", tmp_path / "db")
    environment = lmdb.open(str(tmp_path / "db"), readonly=True, lock=False)
    with environment.begin() as transaction:
        stored = {bytes(key): bytes(value) for key, value in transaction.cursor()}
    environment.close()
    planes = bytes([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])
    head = b"\x08\x03\x10\x01\x18\x04\x22\x0c" + planes
    assert stored == {
        b"00000002_a b.png": head + b"\x28\x01\x38\x00",
        b"00000004_a b.png": head + b"\x28" + b"\xff" * 9 + b"\x01\x38\x00",
    }


def test_encoded_with_a_change_is_encoded_anew(root):
    _, database = build(root, encoded=True, gray=True, resize_width=4, resize_height=4)
    datum = records(database)["00000000_cat/1 a.png"]
    image = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (4, 4)


def test_shuffle_is_fixed_by_the_seed_and_numbers_come_after_it(root):
    _, database = build(root, shuffle=True, seed=5)
    names = ["cat/1 a.png", "dog/ü.jpg", "/z.bmp"]
    wanted = [f"{place:08d}_{names[line]}" for place, line in enumerate(permutation(3, 5))]
    assert list(records(database)) == wanted


def test_unreadable_images_leave_gaps_and_are_counted(root):
    (root / "dog/ü.jpg").write_bytes(b"junk")
    report, database = build(root)
    assert (report.written, report.skipped) == (2, 1)
    assert "ü.jpg" in report.reasons[0]
    assert list(records(database)) == ["00000000_cat/1 a.png", "00000002_/z.bmp"]


def test_nothing_readable_is_an_error_and_leaves_nothing(root):
    for path in root.rglob("*.*"):
        path.write_bytes(b"junk")
    with pytest.raises(DataError, match="none of the 3 images can be read"):
        build(root)
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["images", "list.txt"]


def test_check_size_names_both_sizes(root):
    write_picture(root / "z.bmp", picture(8, 11))
    with pytest.raises(DataError, match=r"/z\.bmp is 8x11x3, cat/1 a\.png is 8x10x3: give resize_width"):
        build(root, check_size=True)
    assert build(root, check_size=True, resize_width=4, resize_height=4)[0].written == 3


def test_an_existing_database_is_left_alone(root):
    _, database = build(root)
    before = (database / "data.mdb").read_bytes()
    with pytest.raises(UsageError, match=r"out\.lmdb exists"):
        build(root)
    assert (database / "data.mdb").read_bytes() == before


def test_a_root_that_is_no_folder_is_refused_before_any_image(root):
    with pytest.raises(UsageError, match="is no folder: give the one that the listed paths start at"):
        build_lmdb(root / "none", root.parent / "list.txt", root.parent / "db", on_start=pytest.fail)


def test_the_folder_is_readable_by_others_and_nothing_else_is_left(root):
    _, database = build(root)
    assert stat.S_IMODE(database.stat().st_mode) == 0o755
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["images", "list.txt", "out.lmdb"]


def test_the_map_grows_when_it_is_full(root, monkeypatch):
    monkeypatch.setattr(lmdb_write, "_FIRST_MAP_BYTES", 1 << 15)
    monkeypatch.setattr(lmdb_write, "_COMMIT_RECORDS", 7)
    (root.parent / "list.txt").write_text("cat/1 a.png 1\n" * 300)
    report, database = build(root)
    assert report.written == 300
    source = LmdbSource(database)
    assert len({source.stored(index) for index in range(300)}) == 1


def test_progress_is_told_per_line(root):
    (root / "z.bmp").unlink()
    told: list[int] = []
    build_lmdb(root, root.parent / "list.txt", root.parent / "db", on_image=lambda: told.append(1))
    assert len(told) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no images"),
        ("a.png\n", "line 1 is not 'relative/path label'"),
        ("a.png 1\nb.png x\n", "line 2 is not"),
        ("x" * 503 + ".png 1\n", "line 1: the path is over 502 bytes"),
    ],
)
def test_a_wrong_list_is_named(root, text, reason):
    (root.parent / "list.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        build(root)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backend": "leveldb"}, "backend leveldb cannot be written: use --backend lmdb"),
        ({"resize_width": 3}, "resize_width and resize_height go together"),
        ({"resize_height": 3}, "resize_width and resize_height go together"),
        ({"encode_type": "mp3"}, "encode_type mp3 is no image format"),
    ],
)
def test_options_that_cannot_be_done_are_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        BuildOptions(**options)


def test_a_missing_parent_folder_is_named(root):
    with pytest.raises(UsageError, match="no/where does not exist"):
        build_lmdb(root, root.parent / "list.txt", root.parent / "no" / "where" / "db")


def test_an_unnamed_format_asks_for_encode_type(root):
    (root / "noext").write_bytes(encoded(picture(8, 10)))
    (root.parent / "list.txt").write_text("noext 1\n")
    with pytest.raises(DataError, match="give encode_type jpg or png"):
        build(root, encoded=True)


def test_a_failing_disk_is_reported_and_leaves_nothing(root, monkeypatch):
    def fail(_):
        raise lmdb.DiskError("no space")

    monkeypatch.setattr(lmdb_write.BatchWriter, "commit", fail)
    with pytest.raises(DistqError, match=r"out\.lmdb cannot be written: .*no space"):
        build(root)
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["images", "list.txt"]
