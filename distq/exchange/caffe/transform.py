"""``transform_param`` of Caffe's data layers as the steps of a preprocessing file.

Order of the steps: BVLC Caffe, data_transformer.cpp (crop, mean_file at the place before the crop,
mean_value, scale), resize_param before them as in the SSD fork. Fields of Sophgo's Caffe (crop_fraction,
resize, standardization, transform_op): its calibration manual, chapter on input preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distq.errors import PreprocessError
from distq.exchange.caffe.schema import Message

_RANDOM = {
    "noise_param": "adds noise",
    "distort_param": "changes colors",
    "expand_param": "moves the picture",
}
_FREE = {"transform_op", "force_color", "force_gray", "mirror", "emit_constraint"}
_INTERPOLATIONS = {"LINEAR", "AREA", "NEAREST", "CUBIC", "LANCZOS4"}
_BORDERS = {"CONSTANT": "constant", "MIRRORED": "reflect", "REPEAT_NEAREST": "replicate"}

StepContent = dict[str, Any]
"""One step as a preprocessing file has it: its name, and its value."""


@dataclass
class Transform:
    """Steps in their order, and what a user should know about them.

    ``gray`` says whether the picture is decoded to one channel; None where the file leaves that open.
    """

    steps: list[StepContent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gray: bool | None = None


def read_transform(param: Message, where: str, find: Callable[[str], str]) -> Transform:
    """Turn a TransformationParameter into steps.

    Args:
        param: The message.
        where: What to call it in an error: file, line and layer.
        find: Gives the path of a file that it names.

    Raises:
        PreprocessError: it is random where that changes more than left and right, contradicts itself, or
            lacks something.
    """
    for name, effect in _RANDOM.items():
        if param.HasField(name):
            raise PreprocessError(
                f"{where}: {name} {effect} at random, so that thresholds would differ from run to run: "
                "remove it"
            )
    if param.force_color and param.force_gray:
        raise PreprocessError(f"{where}: force_color and force_gray exclude each other: remove one")
    transform = Transform(gray=True if param.force_gray else False if param.force_color else None)
    if param.mirror:
        transform.notes.append(
            f"{where}: mirror is left out: it turns half of the images at random, also in the TEST phase"
        )
    if param.transform_op:
        _refuse_mixture(param, where)
        for op in param.transform_op:
            _operation(op, transform, f"{where}: transform_op {op.op}", find)
    else:
        _fixed_order(param, transform, where, find)
    return transform


def mean_steps(param: Message, where: str, find: Callable[[str], str]) -> list[StepContent]:
    """The step of ``mean_file``; it stands before the crop, as Caffe's mean has the size of the whole."""
    if not param.mean_file:
        return []
    if getattr(param, "mean_value", ()):
        raise PreprocessError(f"{where}: mean_file and mean_value exclude each other: remove one")
    return [{"mean_file": find(param.mean_file)}]


def number(value: float) -> float:
    """The shortest number that is the same in float32: what the file says, not what is nearest to it."""
    return float(str(np.float32(value)))


def scale_step(scale: float) -> list[StepContent]:
    """Multiply, where that does something."""
    return [{"scale": number(scale)}] if scale != 1 else []


def _fixed_order(param: Message, transform: Transform, where: str, find: Callable[[str], str]) -> None:
    steps = transform.steps
    if param.HasField("resize_param"):
        if param.resize_param.prob < 1:
            raise PreprocessError(
                f"{where}: resize_param: prob under 1 leaves some pictures as they are: give 1"
            )
        steps.append(_resize(param.resize_param, f"{where}: resize_param"))
    if len(param.resize) == 1:
        steps += _plain_resize(param.resize[0], [0, 0], where)
    elif param.resize:
        steps += _plain_resize(0, list(param.resize), where)
    steps += mean_steps(param, where, find)
    sizes = (param.crop_size, param.crop_size) if param.crop_size else (param.crop_h, param.crop_w)
    steps += _crop(param.crop_fraction, *sizes, where)
    steps += _arithmetic(param, swap=False, div=1)
    if param.standardization:
        steps.append({"standardize": True})


def _operation(op: Message, transform: Transform, where: str, find: Callable[[str], str]) -> None:
    steps = transform.steps
    if op.op == "RESIZE":
        resize = _plain_resize(op.resize_side, [op.resize_h, op.resize_w], where)
        if not resize:
            raise PreprocessError(f"{where} says no size: give resize_side, or resize_h and resize_w")
        steps += resize
    elif op.op == "CROP":
        crop = _crop(op.crop_fraction, op.crop_h, op.crop_w, where)
        if not crop:
            raise PreprocessError(f"{where} says no size: give crop_fraction, or crop_h and crop_w")
        if op.HasField("padding"):
            crop[0]["center_crop"]["pad"] = number(op.padding)
        steps += crop
    elif op.op == "STAND":
        steps += mean_steps(op, where, find)
        steps += _arithmetic(op, op.bgr2rgb, op.div)
        if op.bgr2rgb and len(set(op.mean_value)) > 1:
            transform.notes.append(f"{where}: mean_value is taken in the order after bgr2rgb, red first")
    elif op.op != "NONE":
        raise PreprocessError(f"{where} is none of RESIZE, CROP and STAND")


def _refuse_mixture(param: Message, where: str) -> None:
    others = sorted({descriptor.name for descriptor, _ in param.ListFields()} - _FREE)
    if others:
        raise PreprocessError(
            f"{where}: transform_op and {', '.join(others)} exclude each other, as in the vendor's tool: "
            "move all into transform_op"
        )


def _resize(param: Message, where: str) -> StepContent:
    """A ResizeParameter (SSD fork, im_transforms.cpp, ApplyResize)."""
    if not param.height or not param.width:
        raise PreprocessError(f"{where} says no size: give height and width")
    resize: dict[str, Any] = {"height": param.height, "width": param.width}
    modes = set(param.interp_mode)
    if len(modes) > 1:
        raise PreprocessError(
            f"{where}: one of {len(param.interp_mode)} interp_modes is taken at random: leave one"
        )
    if modes - _INTERPOLATIONS:
        raise PreprocessError(f"{where}: unknown interp_mode {param.interp_mode[0]}")
    if modes and modes != {"LINEAR"}:
        resize["interpolation"] = param.interp_mode[0].lower()
    if param.resize_mode == "FIT_SMALL_SIZE":
        resize |= {"cover": True, "rounding": "floor"}
    elif param.resize_mode == "FIT_LARGE_SIZE_AND_PAD":
        if param.pad_mode not in _BORDERS:
            raise PreprocessError(f"{where}: unknown pad_mode {param.pad_mode}")
        pad = [round(min(255.0, max(0.0, value))) for value in param.pad_value] or [0]
        resize |= {"letterbox": "center", "rounding": "floor", "pad": pad[0] if len(pad) == 1 else pad}
        if param.pad_mode != "CONSTANT":
            resize["pad_mode"] = _BORDERS[param.pad_mode]
    elif param.resize_mode != "WARP":
        raise PreprocessError(f"{where}: unknown resize_mode {param.resize_mode}")
    return {"resize": resize}


def _plain_resize(side: int, sizes: list[int], where: str) -> list[StepContent]:
    """Resize to a shorter side, or to [height, width]; zeros are what is not given."""
    if len(sizes) != 2 or bool(sizes[0]) != bool(sizes[1]) or (side and sizes[0]):
        raise PreprocessError(f"{where}: a resize has one size (the shorter side), or height and width")
    if side:
        return [{"resize": {"shorter_side": side}}]
    return [{"resize": {"height": sizes[0], "width": sizes[1]}}] if sizes[0] else []


def _crop(fraction: float, height: int, width: int, where: str) -> list[StepContent]:
    if bool(height) != bool(width) or (fraction and height):
        raise PreprocessError(f"{where}: a crop has crop_fraction, crop_size, or both crop_h and crop_w")
    if height:
        return [{"center_crop": {"height": height, "width": width}}]
    return [{"center_crop": {"fraction": number(fraction)}}] if fraction not in {0, 1} else []


def _arithmetic(param: Message, swap: bool, div: float) -> list[StepContent]:
    """bgr2rgb, mean_value, scale and div, in this order."""
    steps: list[StepContent] = [{"color": "rgb"}] if swap else []
    if any(param.mean_value):
        steps.append({"mean": [number(value) for value in param.mean_value]})
    steps += scale_step(param.scale)
    return steps + ([{"std": [number(div)]}] if div != 1 else [])
