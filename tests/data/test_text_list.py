"""Text lists as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import picture, write_picture
from hypothesis import given
from hypothesis import strategies as st

from distq.data.dataset import UnreadableSample
from distq.data.samples import ImageFile, Values
from distq.data.text_list import TextListSource, split_label
from distq.errors import DataError

ONE, TWO = ("data",), ("a", "b")


def write(tmp_path, text, name="list.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_give_samples_in_their_order(tmp_path):
    path = write(
        tmp_path,
        "# header\n\nz.jpg 3\r\n  a picture #1.png -2  # comment\nsub/größe.png\n#\nname#with hash.jpg 07\n",
    )
    source = TextListSource(path, ONE)
    assert [(source.name(i), source.label(i)) for i in range(len(source))] == [
        ("z.jpg", 3),
        ("a picture", None),
        ("sub/größe.png", None),
        ("name#with hash.jpg", 7),
    ]


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("a b c.jpg 12", ("a b c.jpg", 12)),
        ("a b c.jpg", ("a b c.jpg", None)),
        ("a.jpg\t0", ("a.jpg", 0)),
        ("a.jpg 1.5", ("a.jpg 1.5", None)),
        ("a.jpg ٣", ("a.jpg ٣", None)),
        ("12", ("12", None)),
    ],
)
def test_a_label_is_a_last_integer_after_a_blank(entry, wanted):
    assert split_label(entry) == wanted


def test_relative_paths_start_at_the_lists_folder(tmp_path):
    write_picture(tmp_path / "sub" / "x y.png", picture(2, 2))
    absolute = tmp_path / "other.png"
    source = TextListSource(write(tmp_path, f"sub/x y.png 1\n{absolute}\n"), ONE)
    assert source.read(0) == (ImageFile(tmp_path / "sub/x y.png"),)
    assert source.read(1) == (ImageFile(absolute),)
    assert source.stored(0) == ((tmp_path / "sub/x y.png").read_bytes(),)


def test_several_inputs_are_separated_by_commas(tmp_path):
    np.save(tmp_path / "v.npy", np.arange(3.0))
    source = TextListSource(write(tmp_path, "a.png, v.npy 4\n"), TWO)
    image, values = source.read(0)
    assert image == ImageFile(tmp_path / "a.png")
    assert isinstance(values, Values)
    np.testing.assert_array_equal(values.array, [0, 1, 2])
    assert (source.name(0), source.label(0)) == ("a.png,v.npy", 4)
    assert source.aliases(0) == ("a.png,v.npy", "a.png", "a.png")


@pytest.mark.parametrize("line", ["a.png", "a.png,b.png,c.png 3"])
def test_a_wrong_number_of_inputs_names_the_line(tmp_path, line):
    path = write(tmp_path, f"# two inputs\na.png,b.png\n{line}\n")
    with pytest.raises(DataError, match=r"list\.txt line 3 has [13] inputs, the model has 2"):
        TextListSource(path, TWO)


@pytest.mark.parametrize("name", ["a,b.png", "a, b,c.png", ",.png", r"a\,b.png"])
def test_a_model_of_one_input_takes_a_whole_line_that_is_a_file(tmp_path, name):
    write_picture(tmp_path / name, picture(2, 2))
    for inputs in (ONE, None):
        source = TextListSource(write(tmp_path, f"{name} 4\n{name}\n"), inputs)
        assert (source.name(0), source.label(0)) == (name, 4)
        assert source.read(1) == (ImageFile(tmp_path / name),)


def test_a_backslash_keeps_a_comma_in_a_name(tmp_path):
    path = write(tmp_path, "a\\,b.png, c.png 4\nd\\e.png, f\\,g\\,h.png\n")
    source = TextListSource(path, TWO)
    assert source.read(0) == (ImageFile(tmp_path / "a,b.png"), ImageFile(tmp_path / "c.png"))
    assert source.read(1) == (ImageFile(tmp_path / "d\\e.png"), ImageFile(tmp_path / "f,g,h.png"))
    assert TextListSource(write(tmp_path, "a\\,b.png\n"), ONE).read(0) == (ImageFile(tmp_path / "a,b.png"),)


def test_commas_that_are_neither_are_explained(tmp_path):
    with pytest.raises(DataError, match="line 1 has 5001 inputs, the model has 1"):
        TextListSource(write(tmp_path, "a," * 5000 + "a.png\n"), ONE)
    with pytest.raises(
        DataError, match=r"line 1 has 2 inputs, the model has 1: .* no file is called 'a,b\.png'"
    ):
        TextListSource(write(tmp_path, "a,b.png 3\n"), ONE)
    with pytest.raises(DataError, match=r"has 3 inputs, the model has 2: .* belongs to a name as '\\,'"):
        TextListSource(write(tmp_path, "a,b.png,c.png\n"), TWO)


def test_an_empty_path_names_the_line(tmp_path):
    with pytest.raises(DataError, match="line 1 has an empty path"):
        TextListSource(write(tmp_path, "a.png, 3\n"), TWO)


def test_without_a_model_the_first_line_says_how_many_inputs(tmp_path):
    assert len(TextListSource(write(tmp_path, "a,b\nc,d\n"), None)) == 2
    with pytest.raises(DataError, match="line 2"):
        TextListSource(write(tmp_path, "a,b\nc\n"), None)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"text\0with zero", b"\x89PNG\r\n\x1a\n\0"])
def test_a_file_that_is_no_text_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.onnx is no UTF-8 text list"):
        TextListSource(tmp_path / "model.onnx", ONE)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", b"not an array", b"PK\x03\x04junk"])
def test_a_damaged_array_is_an_unreadable_sample(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    source = TextListSource(write(tmp_path, "x.npy\n"), ONE)
    with pytest.raises(UnreadableSample, match=r"x\.npy cannot be read"):
        source.read(0)


def test_an_array_of_python_objects_is_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(UnreadableSample, match="allow_pickle"):
        TextListSource(write(tmp_path, "x.npy\n"), ONE).read(0)


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=",#"), min_size=1)))
def test_any_name_comes_back_as_written(tmp_path_factory, made):
    path = write(tmp_path_factory.getbasetemp(), "".join(f"{name} 5\n" for name in made), "any.txt")
    source = TextListSource(path, ONE)
    assert [source.name(i) for i in range(len(source))] == made
    assert all(source.label(i) == 5 for i in range(len(source)))


def test_a_long_list_touches_no_file(tmp_path):
    path = write(tmp_path, "".join(f"photos/{i:07d}.jpg {i % 1000}\n" for i in range(100_000)))
    source = TextListSource(path, ONE)
    assert len(source) == 100_000
    assert (source.name(99_999), source.label(99_999)) == ("photos/0099999.jpg", 999)


def test_relative_paths_may_start_elsewhere(tmp_path):
    (tmp_path / "list.txt").write_text("a.png 1\n/b.png 2\n")
    source = TextListSource(tmp_path / "list.txt", ("x",), tmp_path / "images")
    assert [source.read(index)[0].path for index in range(2)] == [
        tmp_path / "images" / "a.png",
        Path("/b.png"),
    ]
