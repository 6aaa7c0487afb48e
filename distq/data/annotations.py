"""Boxes of pictures from annotations beside them: COCO's JSON, or a folder of PASCAL VOC's XML files.

Sources: COCO's "Data format" page (object detection), and the PASCAL VOC development kit (VOC2012, 3).
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.errors import DataError
from distq.regular import read_regular

Objects = npt.NDArray[np.float64]
"""(n, 6): left, top, right, bottom as parts of the picture, class, and 0, or 1 difficult, or 2 a crowd."""

DIFFICULT, CROWD = 1, 2


@dataclass(frozen=True)
class Annotations:
    """Objects by picture.

    Attributes:
        path: where they are.
        classes: names, in the order of the classes' numbers; empty where they have none.
        objects: by the picture's name, with folders and without; without the suffix where it has none there.
    """

    path: str
    classes: tuple[str, ...]
    objects: Mapping[str, Objects]

    def of(self, aliases: Iterable[str]) -> Objects:
        """The objects of a picture known by several names.

        Raises:
            DataError: it is not among the annotations.
        """
        names = list(aliases)
        for name in names:
            parts = PurePosixPath(name).parts
            for start in range(len(parts)):  # a data set may start at another folder
                tail = PurePosixPath(*parts[start:])
                for form in (tail.as_posix(), tail.with_suffix("").as_posix()):
                    if form in self.objects:
                        return self.objects[form]
        raise DataError(f"{self.path} has no annotations of {names[0]}: add them, or leave the picture out")


def load_annotations(path: Path) -> Annotations:
    """Read a COCO JSON file, or the XML files of a folder and those below it.

    Raises:
        DataError: it cannot be read, or is neither.
    """
    try:
        return _voc(path) if path.is_dir() else _coco(path)
    except OSError as error:
        raise DataError(
            f"annotations {path} cannot be read: {error.strerror}; give COCO's JSON or VOC's folder"
        ) from None


def _coco(path: Path) -> Annotations:
    try:
        content = json.loads(read_regular(path))
        kinds = sorted(content["categories"], key=lambda kind: int(kind["id"]))
        numbers = {int(kind["id"]): number for number, kind in enumerate(kinds)}
        pictures = {int(one["id"]): one for one in content["images"]}
        rows: dict[int, list[list[float]]] = {key: [] for key in pictures}
        for one in content["annotations"]:
            picture = pictures[int(one["image_id"])]
            left, top, width, height = map(float, one["bbox"])
            sides = float(picture["width"]), float(picture["height"])
            corners = left / sides[0], top / sides[1], (left + width) / sides[0], (top + height) / sides[1]
            flag = CROWD if one.get("iscrowd") else 0
            rows[int(one["image_id"])].append([*corners, numbers[int(one["category_id"])], flag])
        names = {key: str(one["file_name"]) for key, one in pictures.items()}
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise DataError(
            f"annotations {path}: not COCO's JSON of images, categories and annotations with boxes "
            f"({type(error).__name__}: {error})"
        ) from None
    classes = tuple(str(kind.get("name", kind["id"])) for kind in kinds)
    objects = {names[key]: _table(found) for key, found in rows.items()}
    return Annotations(str(path), classes, _with_bare_names(objects))


def _voc(path: Path) -> Annotations:
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise DataError(
            f"annotations {path}: no XML files in this folder: give one of PASCAL VOC's, or COCO's JSON"
        )
    read = {file.relative_to(path).with_suffix("").as_posix(): _voc_file(file) for file in files}
    classes = tuple(sorted({name for rows in read.values() for name, _ in rows}))
    numbers = {name: number for number, name in enumerate(classes)}
    objects = {
        name: _table([[*row[:4], numbers[kind], row[4]] for kind, row in rows]) for name, rows in read.items()
    }
    return Annotations(str(path), classes, _with_bare_names(objects))


def _with_bare_names(objects: dict[str, Objects]) -> dict[str, Objects]:
    """The objects, also by names without folders that are those of one picture alone."""
    bare = Counter(PurePosixPath(name).name for name in objects)
    short = {PurePosixPath(name).name: found for name, found in objects.items()}
    return objects | {name: found for name, found in short.items() if bare[name] == 1}


def _voc_file(path: Path) -> list[tuple[str, list[float]]]:
    """Class and corners as parts of the picture, with the flag, of each object; pixels count from 1."""
    data = read_regular(path)
    if b"<!DOCTYPE" in data:
        raise DataError(f"{path} declares a document type, which annotations do not need: remove it")
    try:
        root = ET.fromstring(data)  # noqa: S314  # without a document type there are no entities
        width, height = (float(_text(root, f"size/{side}")) for side in ("width", "height"))
        rows = []
        for one in root.iter("object"):
            left, top, right, bottom = (
                float(_text(one, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            flag = DIFFICULT if (one.findtext("difficult") or "0").strip() == "1" else 0
            corners = [(left - 1) / width, (top - 1) / height, right / width, bottom / height]
            rows.append((_text(one, "name"), [*corners, flag]))
    except (ET.ParseError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{path} is not an annotation of PASCAL VOC: {error}") from None
    return rows


def _text(element: Any, place: str) -> str:  # noqa: ANN401  # an element of the standard library, without types
    found = element.findtext(place)
    if found is None:
        raise ValueError(f"no {place}")
    return str(found).strip()


def _table(rows: list[list[float]]) -> Objects:
    return np.array(rows, np.float64).reshape(-1, 6)
