"""Labels files."""

from __future__ import annotations

import pytest

from distq.data.labels import find_label, load_labels
from distq.errors import DataError


def write(tmp_path, text):
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8")
    return tmp_path / "labels.txt"


def test_names_may_hold_blanks_and_lines_may_hold_comments(tmp_path):
    path = write(tmp_path, "# name label\na b.jpg 3\nsub/ü.jpg 0  # zero\n")
    assert load_labels(path) == {"a b.jpg": 3, "sub/ü.jpg": 0}


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg cat", "a.jpg 1.5"])
def test_a_line_without_an_integer_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"labels\.txt line 2 is not 'name label'"):
        load_labels(write(tmp_path, f"x.jpg 1\n{line}\n"))


def test_two_labels_for_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"line 3 gives a\.jpg label 2, before it had 1"):
        load_labels(write(tmp_path, "a.jpg 1\na.jpg 1\na.jpg 2\n"))


def test_the_first_alias_wins_and_a_missing_one_is_named(tmp_path):
    labels = {"sub/a.jpg": 1, "a.jpg": 2}
    assert find_label(labels, ("sub/a.jpg", "a.jpg"), tmp_path) == 1
    assert find_label(labels, ("other/a.jpg", "a.jpg"), tmp_path) == 2
    with pytest.raises(DataError, match=r"no label for sample b\.jpg"):
        find_label(labels, ("b.jpg",), tmp_path)
