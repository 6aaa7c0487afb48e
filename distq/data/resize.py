"""The step that changes a picture's size: resize."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from distq.data.picture import Length, Picture, Step
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

_YOUNGER = ("cover", "pad_mode", "rounding")
"""Settings that files had not when their description became part of a run's identity."""

_WAYS = (
    "resize takes one of shorter_side, longer_side, height and width, or height alone; or multiple_of, "
    "also with these"
)

Level = Annotated[int, Field(ge=0, le=255)]
Levels = Annotated[
    tuple[Level, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float | str) else value),
    Field(min_length=1),
]


class Resize(Step):
    """Resize to a shorter or longer side, to height x width, to a height, or to multiples of a number.

    ``letterbox`` keeps the aspect ratio inside height x width and pads the rest, ``cover`` keeps it outside:
    one side is as asked for, the other is not shorter. ``pad`` is 114 by default, what YOLO models were
    trained with. ``rounding`` is of the side that keeps the aspect ratio: to the nearest, half up, ``ceil``
    or ``floor``, which for height x width is that of a float32, as Caffe's resize_param does (SSD fork,
    im_transforms.cpp). ``multiple_of`` then brings both sides to the nearest multiple, half to even, at least
    one (as PaddleOCR's DetResizeForTest, operators.py, and MiDaS's Resize, transforms.py). ``only: larger``
    leaves a picture as it is whose side is not longer than the one asked for, ``smaller`` one whose side is
    not shorter.
    """

    key = "resize"
    shorter_side: Length | None = None
    longer_side: Length | None = None
    height: Length | None = None
    width: Length | None = None
    max_width: Length | None = None
    multiple_of: Length | None = None
    only: Literal["smaller", "larger"] | None = None
    letterbox: Literal["top_left", "center"] | None = None
    cover: bool = False
    pad: Levels = (114,)
    pad_mode: Literal["constant", "reflect", "replicate"] = "constant"
    rounding: Literal["nearest", "floor", "ceil"] = "nearest"
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.shorter_side, self.longer_side, self.height]
        given = sum(way is not None for way in ways)
        if given > 1 or (not given and self.multiple_of is None) or (self.width and not self.height):
            raise ValueError(_WAYS)
        framed = self.letterbox is not None or self.cover
        if framed and (self.height is None or self.width is None):
            raise ValueError(f"{'cover' if self.cover else 'letterbox'} needs height and width")
        if self.letterbox is not None and self.cover:
            raise ValueError("letterbox and cover exclude each other: give one")
        if {"pad", "pad_mode"} & self.model_fields_set and self.letterbox is None:
            raise ValueError("pad needs letterbox: top_left or center")
        if self.rounding != "nearest" and self.width is not None and not framed:
            raise ValueError(f"rounding: {self.rounding} needs letterbox or cover")
        if self.rounding == "ceil" and framed:
            raise ValueError("letterbox and cover take rounding: nearest or floor")
        if self.max_width is not None and (self.height is None or self.width is not None):
            raise ValueError("max_width needs height alone")
        if self.only is not None and self.shorter_side is None and self.longer_side is None:
            raise ValueError("only needs shorter_side or longer_side")
        if self.multiple_of is not None and self.width is not None:
            raise ValueError("multiple_of and height and width exclude each other: give multiples")
        require_pixels(self.height or self.shorter_side or 1, self.width or self.shorter_side or 1)
        return self

    def apply(self, picture: Picture) -> Picture:  # noqa: D102  # as in Step
        height, width = self.target(*picture.array.shape[:2])
        try:
            require_pixels(height, width)
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
        for name in _YOUNGER:
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
        found = self._by_ratio(height, width) if self.width is None else self._framed(height, width)
        if self.multiple_of is None:
            return found
        step = self.multiple_of
        return max(step, round(found[0] / step) * step), max(step, round(found[1] / step) * step)

    def _by_ratio(self, height: int, width: int) -> tuple[int, int]:
        """By one side that is given; the other keeps the aspect ratio, unless it is held back."""
        if self.height is not None:
            found = self._scaled(width, self.height, height)
            return self.height, min(found, self.max_width or found)
        wanted = self.shorter_side or self.longer_side
        if wanted is None:
            return height, width
        by_height = height <= width if self.shorter_side else height >= width
        own = height if by_height else width
        if (self.only == "smaller" and own >= wanted) or (self.only == "larger" and own <= wanted):
            return height, width
        if by_height:
            return wanted, self._scaled(width, wanted, height)
        return self._scaled(height, wanted, width), wanted

    def _framed(self, height: int, width: int) -> tuple[int, int]:
        """By height and width, inside or outside of them where the aspect ratio stays."""
        wanted_height, wanted_width = self.height or 1, self.width or 1
        if self.letterbox is None and not self.cover:
            return wanted_height, wanted_width
        if self.rounding == "floor":
            return self._floored(height, width, wanted_height, wanted_width)
        keeps_height = wanted_height * width <= wanted_width * height  # inside, the height limits
        if keeps_height != self.cover:
            other = self._scaled(width, wanted_height, height)
            return wanted_height, other if self.cover else min(wanted_width, other)
        other = self._scaled(height, wanted_width, width)
        return other if self.cover else min(wanted_height, other), wanted_width

    def _floored(self, height: int, width: int, wanted_height: int, wanted_width: int) -> tuple[int, int]:
        """The same in Caffe's arithmetic: a quotient in float32, rounded down."""
        aspect = np.float32(width) / np.float32(height)
        wanted = np.float32(wanted_width) / np.float32(wanted_height)
        if aspect < wanted if self.cover else aspect > wanted:
            return max(1, math.floor(np.float32(wanted_width) / aspect)), wanted_width
        return wanted_height, max(1, math.floor(aspect * np.float32(wanted_height)))

    def _scaled(self, length: int, numerator: int, denominator: int) -> int:
        match self.rounding:
            case "floor":
                return max(1, length * numerator // denominator)
            case "ceil":
                return -(-length * numerator // denominator)
        return max(1, math.floor(length * numerator / denominator + 0.5))


def require_pixels(height: int, width: int) -> None:
    """Refuse to make a picture larger than those that are decoded.

    Raises:
        ValueError: saying both sizes.
    """
    if height * width > DEFAULT_PIXEL_LIMIT:
        raise ValueError(
            f"a picture of {height}x{width} pixels is over the limit of {DEFAULT_PIXEL_LIMIT}: resize to less"
        )


def multiple_above(length: int, step: int) -> int:
    """The least multiple of a step that is not below a length."""
    return -(-length // step) * step
