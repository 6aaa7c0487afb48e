"""A labels file: ``name label`` per line."""

from __future__ import annotations

from pathlib import Path

from distq.data.text_list import read_lines, split_label
from distq.errors import DataError
from distq.urls import shown


def load_labels(path: Path) -> dict[str, int]:
    """Read labels by sample name (relative path, file name, LMDB key or row number).

    Raises:
        DataError: the file is missing, a line has no integer after its last blank, or a name has two labels.
    """
    labels: dict[str, int] = {}
    for number, entry in read_lines(path):
        name, label = split_label(entry)
        if label is None:
            raise DataError(
                f"{shown(path)} line {number} is not 'name label' with an integer label: {entry[:80]!r}"
            )
        if labels.setdefault(name, label) != label:
            raise DataError(
                f"{shown(path)} line {number} gives {name} label {label}, before it had "
                f"{labels[name]}: keep one"
            )
    return labels


def find_label(labels: dict[str, int], aliases: tuple[str, ...], path: Path) -> int:
    """The label of a sample known by several names.

    Raises:
        DataError: none of them is in the file.
    """
    for alias in aliases:
        if alias in labels:
            return labels[alias]
    raise DataError(
        f"{shown(path)} has no label for sample {aliases[0]}: add the line '{aliases[0]} <class>'"
    )
