"""Steps that change a picture's size or turn it: resize, center_crop, flip, transpose."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from distq.data.picture import Length, Number, Picture, Step
from distq.data.samples import DEFAULT_PIXEL_LIMIT
from distq.errors import PreprocessError

_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
    "lanczos4": cv2.INTER_LANCZOS4,
}


_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT_101,
    "replicate": cv2.BORDER_REPLICATE,
}

Level = Annotated[int, Field(ge=0, le=255)]
Levels = Annotated[
    tuple[Level, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float | str) else value),
    Field(min_length=1),
]


class Resize(Step):
    """Resize to a shorter side, or to height x width.

    ``letterbox`` keeps the aspect ratio inside height x width and pads the rest, ``cover`` keeps it outside:
    one side is as asked for, the other is not shorter. ``pad`` is 114 by default, what YOLO models were
    trained with. ``rounding`` is of the side that keeps the aspect ratio: to the nearest, half up, or
    ``floor`` of a float32, as Caffe's resize_param does (SSD fork, im_transforms.cpp).
    """

    key = "resize"
    shorter_side: Length | None = None
    height: Length | None = None
    width: Length | None = None
    letterbox: Literal["top_left", "center"] | None = None
    cover: bool = False
    pad: Levels = (114,)
    pad_mode: Literal["constant", "reflect", "replicate"] = "constant"
    rounding: Literal["nearest", "floor"] = "nearest"
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.height is None) != (self.width is None) or (self.height is None) == (
            self.shorter_side is None
        ):
            raise ValueError("resize takes either shorter_side or both height and width")
        if (self.letterbox is not None or self.cover) and self.height is None:
            raise ValueError(f"{'cover' if self.cover else 'letterbox'} needs height and width")
        if self.letterbox is not None and self.cover:
            raise ValueError("letterbox and cover exclude each other: give one")
        if {"pad", "pad_mode"} & self.model_fields_set and self.letterbox is None:
            raise ValueError("pad needs letterbox: top_left or center")
        if self.rounding == "floor" and self.letterbox is None and not self.cover:
            raise ValueError("rounding: floor needs letterbox or cover")
        _require_pixels(self.height or self.shorter_side or 1, self.width or self.shorter_side or 1)
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        height, width = self.target(*picture.array.shape[:2])
        try:
            _require_pixels(height, width)
        except ValueError as error:
            raise PreprocessError(f"resize: {error}") from None
        resized = cv2.resize(
            np.ascontiguousarray(picture.array),
            (width, height),
            interpolation=_INTERPOLATIONS[self.interpolation],
        ).reshape(height, width, -1)
        if self.letterbox is not None and self.height is not None and self.width is not None:
            below, right = self.height - height, self.width - width
            top, left = (below // 2, right // 2) if self.letterbox == "center" else (0, 0)
            resized = self._padded(resized, (top, below - top, left, right - left))
        return Picture(resized, picture.order)

    def describe(self) -> Any:  # noqa: ANN401, D102  # as in Step
        values = super().describe()
        values["pad"] = self.pad[0] if len(self.pad) == 1 else list(self.pad)
        if self.letterbox is None:
            del values["pad"]
        for name in ("cover", "pad_mode", "rounding"):  # younger than files whose description must stay
            if values[name] == type(self).model_fields[name].default:
                del values[name]
        return values

    def _padded(self, array: NDArray[np.uint8], sides: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """The array with rows above and below and columns left and right."""
        channels = array.shape[2]
        if len(self.pad) not in {1, channels}:
            raise PreprocessError(
                f"resize: pad has {len(self.pad)} numbers, the picture {channels} channels: "
                f"give 1 or {channels}"
            )
        value = [float(level) for level in self.pad] * (channels // len(self.pad))
        padded = cv2.copyMakeBorder(array, *sides, _BORDERS[self.pad_mode], value=value)
        return np.asarray(padded, np.uint8).reshape(*padded.shape[:2], -1)

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the resized picture, without padding."""
        if self.shorter_side is not None:
            short = self.shorter_side
            if height <= width:
                return short, _scaled(width, short, height)
            return _scaled(height, short, width), short
        wanted_height, wanted_width = self.height or 1, self.width or 1
        if self.letterbox is None and not self.cover:
            return wanted_height, wanted_width
        if self.rounding == "floor":
            return self._floored(height, width, wanted_height, wanted_width)
        keeps_height = wanted_height * width <= wanted_width * height  # inside, the height limits
        if keeps_height != self.cover:
            other = _scaled(width, wanted_height, height)
            return wanted_height, other if self.cover else min(wanted_width, other)
        other = _scaled(height, wanted_width, width)
        return other if self.cover else min(wanted_height, other), wanted_width

    def _floored(self, height: int, width: int, wanted_height: int, wanted_width: int) -> tuple[int, int]:
        """The same in Caffe's arithmetic: a quotient in float32, rounded down."""
        aspect = np.float32(width) / np.float32(height)
        wanted = np.float32(wanted_width) / np.float32(wanted_height)
        if aspect < wanted if self.cover else aspect > wanted:
            return max(1, math.floor(np.float32(wanted_width) / aspect)), wanted_width
        return wanted_height, max(1, math.floor(aspect * np.float32(wanted_height)))


def _require_pixels(height: int, width: int) -> None:
    """Refuse to make a picture larger than those that are decoded.

    Raises:
        ValueError: saying both sizes.
    """
    if height * width > DEFAULT_PIXEL_LIMIT:
        raise ValueError(
            f"a picture of {height}x{width} pixels is over the limit of {DEFAULT_PIXEL_LIMIT}: resize to less"
        )


def _scaled(length: int, numerator: int, denominator: int) -> int:
    return max(1, math.floor(length * numerator / denominator + 0.5))


class CenterCrop(Step):
    """Cut height x width, or a fraction of both sides, out of the middle.

    It starts at (H - height)//2, (W - width)//2. With ``pad`` a picture that is smaller gets this value
    around it, as tf.image.resize_with_crop_or_pad does; a fraction is that of tf.image.central_crop.
    """

    key = "center_crop"
    height: Length | None = None
    width: Length | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    pad: Number | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.height is None) != (self.width is None) or (self.height is None) == (self.fraction is None):
            raise ValueError("center_crop takes either fraction or both height and width")
        if self.pad is not None and self.fraction is not None:
            raise ValueError("pad needs height and width")
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        array = picture.array
        height, width = self.size(*array.shape[:2])
        top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
        if top < 0 or left < 0:
            if self.pad is None:
                raise PreprocessError(
                    f"center_crop of {height}x{width} does not fit into {array.shape[0]}x{array.shape[1]}: "
                    "resize first"
                )
            missing = [max(0, height - array.shape[0]), max(0, width - array.shape[1])]
            around = [(rest // 2, rest - rest // 2) for rest in missing]
            array = np.pad(array, [*around, (0, 0)], constant_values=self.pad)
            top, left = max(0, top), max(0, left)
        return Picture(array[top : top + height, left : left + width], picture.order)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is cut out of a picture of this height and width."""
        if self.fraction is None:
            return self.height or height, self.width or width
        return _central(height, self.fraction), _central(width, self.fraction)


def _central(length: int, fraction: float) -> int:
    """Sides are cut off symmetrically, so that what stays may be one pixel more than the fraction."""
    return length - 2 * int((length - length * fraction) / 2)


class Flip(Step):
    """Mirror the picture; an addition to the contract's steps, for ``mirror`` of image_params.json."""

    key = "flip"
    value: Literal["horizontal", "vertical", "both"]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        axes = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}[self.value]
        return Picture(np.flip(picture.array, axes), picture.order)


class Transpose(Step):
    """Swap height and width, for networks trained on columns first, as Matlab stores them."""

    key = "transpose"
    value: Literal[True]

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        return Picture(picture.array.transpose(1, 0, 2), picture.order)
