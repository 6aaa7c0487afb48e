"""The boxes of an AnnotatedDatum, the ground truth of detection in LMDBs of Caffe's SSD fork.

Messages and field numbers: SSD fork of Caffe, caffe.proto. AnnotatedDatum: datum 1, type 2, annotation_group
3; AnnotationGroup: group_label 1, annotation 2; Annotation: instance_id 1, bbox 2; NormalizedBBox: xmin 1,
ymin 2, xmax 3, ymax 4, label 5, difficult 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from distq.data.datum import is_annotated
from distq.data.wire import BYTES, FIXED32, VARINT, as_floats, as_int32, read_fields

_EDGES = {1: "left", 2: "top", 3: "right", 4: "bottom"}


@dataclass(frozen=True)
class Box:
    """One object of a picture.

    ``left``, ``top``, ``right`` and ``bottom`` are fractions of the stored picture's width and height, from
    its top left corner. ``label`` is the class; ``difficult`` objects do not count in PASCAL's measure.
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float
    difficult: bool = False


def decode_boxes(data: bytes) -> tuple[Box, ...]:
    """The boxes of an AnnotatedDatum, in the order they are stored; none of a Datum.

    Raises:
        ValueError: it is no such record.
    """
    if not is_annotated(data):
        return ()
    boxes: list[Box] = []
    for number, wire, value in read_fields(data):
        if number == 3 and wire == BYTES and isinstance(value, bytes):
            boxes += _group(value)
    return tuple(boxes)


def _group(data: bytes) -> list[Box]:
    label, found = 0, []
    for number, wire, value in read_fields(data):
        if number == 1 and wire == VARINT and isinstance(value, int):
            label = as_int32(value)
        elif number == 2 and wire == BYTES and isinstance(value, bytes):
            found += [box for field, kind, box in read_fields(value) if (field, kind) == (2, BYTES)]
    return [_box(box, label) for box in found if isinstance(box, bytes)]


def _box(data: bytes, label: int) -> Box:
    edges = dict.fromkeys(_EDGES.values(), 0.0)
    difficult = False
    for number, wire, value in read_fields(data):
        if number in _EDGES and wire == FIXED32 and isinstance(value, bytes):
            edges[_EDGES[number]] = float(as_floats(value)[0])
        elif number == 6 and wire == VARINT:
            difficult = bool(value)
    return Box(label, **edges, difficult=difficult)
