"""``param_str`` of a Python data layer: plain values that say the list and the preprocessing.

The layer's code is never run. Names are those of the vendors' data layers, and what others call the same.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

from distq.errors import PreprocessError
from distq.exchange.caffe.transform import StepContent, Transform
from distq.yaml_text import parse_yaml

_NAMES = {
    "list": ("data_list", "source", "image_list", "list_file", "list"),
    "root": ("root_folder", "image_root", "root"),
    "height": ("h", "height", "new_height", "resize_h"),
    "width": ("w", "width", "new_width", "resize_w"),
    "size": ("size", "image_size", "im_size", "new_size"),
    "color": ("color_format", "color_order", "channel_order", "color"),
    "mean": ("mean", "mean_value", "mean_values"),
    "red": ("r_mean",),
    "green": ("g_mean",),
    "blue": ("b_mean",),
    "scale": ("scale",),
    "mirror": ("mirror",),
    "transpose": ("transpose",),
    "padding": ("padding",),
}
_IGNORED = {"batch_size", "batch", "num_workers", "shuffle", "seed", "phase", "iterations"}
_FLIPS = {1: "both", 2: "vertical", 3: "horizontal"}  # OpenCV's code and 2
_STAYS = ([2, 0, 1],)  # the channels first, which is how a network takes a picture
_SWAPS = ([2, 1, 0], [1, 0, 2])


def parse_param_str(text: str, where: str) -> dict[str, Any]:
    """The values of a ``param_str``: a Python dictionary of literals, YAML or JSON.

    Args:
        text: As the prototxt has it.
        where: What to call it in an error.

    Returns:
        Values by what they mean: list, root, height, width, size, color, mean, red, green, blue, scale,
        mirror, transpose, padding; ``other`` holds the names of those that mean nothing here.

    Raises:
        PreprocessError: it holds no plain values.
    """
    try:
        content = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        try:
            content = parse_yaml(text.encode())
        except ValueError as error:
            raise PreprocessError(
                f"{where}: param_str holds no plain values ({error}): give --data and --preprocess"
            ) from None
    if not isinstance(content, Mapping):
        raise PreprocessError(f"{where}: param_str is no mapping: give --data and --preprocess")
    known = {name: meaning for meaning, names in _NAMES.items() for name in names}
    values = {known[key]: value for key, value in content.items() if key in known}
    values["other"] = sorted(str(key) for key in content if key not in known and key not in _IGNORED)
    return values


def read_values(values: Mapping[str, Any], where: str) -> Transform:
    """Steps in the order of the vendors' layer: resize, mirror, transpose, color, mean, scale.

    Raises:
        PreprocessError: a value is not what its name says.
    """
    transform = Transform(gray=False)
    if values["other"]:
        transform.notes.append(f"{where}: param_str: left out, as unknown: {', '.join(values['other'])}")
    steps = transform.steps
    height, width = _size(values, where)
    if height and width:
        resize: dict[str, Any] = {"height": height, "width": width}
        if _number(values, "padding", 0, where):
            resize |= {"letterbox": "center", "pad": 0}
        steps.append({"resize": resize})
    steps += _flip(values, transform, where)
    if _transposed(values.get("transpose", False), where):
        steps.append({"transpose": True})
    color = str(values.get("color", "bgr")).lower()
    if color not in {"bgr", "rgb", "gray"}:
        raise PreprocessError(f"{where}: param_str: color {color} is none of bgr, rgb and gray")
    if "color" not in values:
        transform.notes.append(f"{where}: param_str names no color_format: BGR, the order of Caffe, is taken")
    transform.gray = color == "gray"
    if color == "rgb":
        steps.append({"color": "rgb"})
    steps += _mean(values, color, where)
    scale = _number(values, "scale", 1, where)
    if scale != 1:
        steps.append({"scale": scale})
    return transform


def _size(values: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Height and width; zeros where there is no size."""
    size = values.get("size")
    if size is not None:
        both = [size, size] if isinstance(size, int) else size
        if not isinstance(both, list | tuple) or len(both) != 2:
            raise PreprocessError(f"{where}: param_str: size is [height, width], not {size!r}")
        sizes = {"height": both[0], "width": both[1]}
    else:
        sizes = {"height": values.get("height", 0), "width": values.get("width", 0)}
    height, width = (_number(sizes, name, 0, where) for name in ("height", "width"))
    if bool(height) != bool(width):
        raise PreprocessError(f"{where}: param_str: height and width go together: give both or none")
    return int(height), int(width)


def _flip(values: Mapping[str, Any], transform: Transform, where: str) -> list[StepContent]:
    mirror = values.get("mirror", 0)
    if mirror is True:
        transform.notes.append(f"{where}: param_str: mirror is left out: it does not say which way")
        return []
    if mirror in (0, -2, None):  # no set: the value may be a list, which no set can be asked for
        return []
    if not isinstance(mirror, int) or mirror not in _FLIPS:
        raise PreprocessError(
            f"{where}: param_str: mirror {mirror!r} is none of 0 (none), 1 (both), 2 (vertical) and "
            "3 (horizontal)"
        )
    return [{"flip": _FLIPS[mirror]}]


def _transposed(value: object, where: str) -> bool:
    """Whether height and width are swapped."""
    axes = list(value) if isinstance(value, list | tuple) else value
    if axes in _SWAPS or axes in (True, 1):
        return True
    if axes in _STAYS or axes in (False, 0, None):
        return False
    raise PreprocessError(f"{where}: param_str: transpose {value!r} is neither a switch nor (2, 0, 1)")


def _mean(values: Mapping[str, Any], color: str, where: str) -> list[StepContent]:
    """Means by name in the order of the picture, or as they are listed."""
    if {"red", "green", "blue"} & values.keys():
        red, green, blue = (_number(values, name, 0, where) for name in ("red", "green", "blue"))
        means = [red, green, blue] if color == "rgb" else [blue, green, red]
    else:
        given = values.get("mean", 0)
        listed = list(given) if isinstance(given, list | tuple) else [given]
        means = [_number({"mean": each}, "mean", 0, where) for each in listed]
    if color == "gray" and len(set(means)) == 1:
        means = means[:1]
    return [{"mean": means}] if any(means) else []


def _number(values: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = values.get(name, default)
    try:
        number = value if isinstance(value, int | float) else float(value)
        if math.isfinite(number):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise PreprocessError(f"{where}: param_str: {name} is no number: {str(value)[:60]!r}")
