"""Detections over a picture, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

from distq.reports.facts import Detections
from distq.reports.html import element, text

MOST = 60
"""Boxes of one network on one picture, the surest ones; more hide it."""

_WIDTH = 320.0
"""Of the drawing, in its own units."""


def boxes_drawn(boxes: Mapping[str, Detections], size: tuple[int, int]) -> str:
    """Boxes of float and of INT8, which lie over a picture of this shape.

    Args:
        boxes: by model, with corners as fractions of the picture; ``float`` is float's.
        size: height and width of the picture.
    """
    height = _WIDTH * size[0] / size[1]
    drawn = []
    for name, found in sorted(boxes.items(), key=lambda item: item[0] != "float"):
        kind = "float" if name == "float" else "int8"
        for left, top, right, bottom, label, score in found[found[:, 5].argsort()[::-1][:MOST]]:
            title = element(
                "title", text(f"{'float' if kind == 'float' else 'INT8'}: class {label:.0f}, {score:.2f}")
            )
            place = {
                "x": f"{left * _WIDTH:.1f}",
                "y": f"{top * height:.1f}",
                "width": f"{(right - left) * _WIDTH:.1f}",
                "height": f"{(bottom - top) * height:.1f}",
            }
            drawn.append(element("rect", title, class_=kind, **place))
    view = f"0 0 {_WIDTH:g} {height:.1f}"
    return element("svg", *drawn, viewBox=view, role="img", aria_label="detections of float and INT8")
